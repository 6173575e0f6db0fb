-- Parameters arrive on standard input, a line name='value' for each; what is printed is the result.
local name = io.read("*a"):match("name='([^\n]*)'"):gsub("'\\''", "'")
local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(character)
    return ("\\u%04x"):format(character:byte())
  end) .. '"'
end
print(('{"greeting": %s, "version": %s}'):format(quoted("Hello, " .. name .. "!"), quoted(_VERSION:match("%d.*"))))
