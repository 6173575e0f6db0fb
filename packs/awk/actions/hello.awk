# Parameters arrive on standard input, a line name='value' for each; what is printed is the result.
/^name='.*'$/ {
    name = substr($0, 7, length($0) - 7)
    gsub(/'\\''/, "'", name)
    gsub(/[\\"]/, "\\\\&", name)
}
END {
    # Only GNU Awk knows its version.
    version = ("version" in PROCINFO) ? ", \"version\": \"" PROCINFO["version"] "\"" : ""
    print "{\"greeting\": \"Hello, " name "!\"" version "}"
}
