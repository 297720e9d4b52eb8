local keypad = {}
for digit, letters in pairs({ ["2"] = "abc", ["3"] = "def", ["4"] = "ghi", ["5"] = "jkl", ["6"] = "mno", ["7"] = "pqrs", ["8"] = "tuv", ["9"] = "wxyz" }) do
  for letter in letters:gmatch(".") do
    keypad[letter] = digit
  end
end

return function(value)
  local number = value:match("^[^x#]*")
  if number:find("[^0-9A-Za-z +%-./()]") then
    return "!"
  end
  local digits = number:lower():gsub("[a-z]", keypad):gsub("[^0-9]", "")
  if #digits == 11 and digits:sub(1, 1) == "1" then
    digits = digits:sub(2)
  end
  if digits:match("^[2-9]%d%d[2-9]%d%d%d%d%d%d$") then
    return "+1" .. digits
  end
  return "!"
end
