-- wrk script: every request posts ORDERS_LOT new orders as NDJSON. Their ids begin with ORDERS_PREFIX.
local prefix = os.getenv("ORDERS_PREFIX") or tostring(os.time())
local lot = tonumber(os.getenv("ORDERS_LOT") or "1000")
local headers = {["Content-Type"] = "application/x-ndjson"}
local form = '{"order_id":"%s-%d-%d","user_id":"u-%d","item_ids":["sku-1","sku-2"],"total_amount":19.99}'
local threads, count = 0, 0

function setup(thread)
  threads = threads + 1
  thread:set("id", threads)
end

function request()
  local lines = {}
  for line = 1, lot do
    count = count + 1
    lines[line] = string.format(form, prefix, id, count, count % 997)
  end
  return wrk.format("POST", wrk.path, headers, table.concat(lines, "\n"))
end
