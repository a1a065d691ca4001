-- wrk script: every request posts a new order. Their ids begin with ORDERS_PREFIX, from the environment; ORDERS_MORE are
-- further fields, as JSON with a comma in front, where `%d` is the number of the order.
local path = os.getenv("ORDERS_PATH") or "/orders"
local prefix = os.getenv("ORDERS_PREFIX") or tostring(os.time())
local headers = {["Content-Type"] = "application/json"}
local more = os.getenv("ORDERS_MORE") or ""
local form = '{"order_id":"%s-%d-%d","user_id":"u-%d","item_ids":["sku-1","sku-2"],"total_amount":19.99%s}'
local threads, count = 0, 0

function setup(thread)
  threads = threads + 1
  thread:set("id", threads)
end

function request()
  count = count + 1
  return wrk.format("POST", path, headers, string.format(form, prefix, id, count, count % 997, string.format(more, count)))
end
