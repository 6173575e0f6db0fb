# Parameters arrive on standard input, a line name='value' for each. Base R writes no JSON either, but
# encodeString() quotes as JSON does for most of what people are called.
line <- grep("^name=", readLines(file("stdin")), value = TRUE)
name <- gsub("'\\''", "'", sub("^name='(.*)'$", "\\1", line), fixed = TRUE)
quoted <- function(text) encodeString(text, quote = '"')
cat(sprintf(
  '{"greeting": %s, "version": %s}\n',
  quoted(paste0("Hello, ", name, "!")), quoted(format(getRversion()))
))
