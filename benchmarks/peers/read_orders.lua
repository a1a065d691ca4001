-- wrk script: every request reads one of the orders t-1 to t-ORDERS, picked at random.
local orders = tonumber(os.getenv("ORDERS"))

function init()
  math.randomseed(os.time())
end

function request()
  return wrk.format("GET", "/orders/t-" .. math.random(orders))
end
