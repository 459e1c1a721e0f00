-- Sends one prepared call after the other, each with a number of its own: single_event.lua TEMPLATE PLACEHOLDER FIRST
local template, placeholder, number

function init(args)
   local file = assert(io.open(args[1], "rb"))
   template, placeholder, number = file:read("*a"), args[2], tonumber(args[3])
   file:close()
end

function request()
   number = number + 1
   return wrk.format("POST", nil, nil, (template:gsub(placeholder, string.format("%08x", number))))
end

function done(summary, latency, _)
   local failed = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "failed": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      failed.connect + failed.read + failed.write + failed.status + failed.timeout))
end
