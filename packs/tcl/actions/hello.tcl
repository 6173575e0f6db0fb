# Parameters arrive on standard input, a line name='value' for each; what is printed is the result.
fconfigure stdin -encoding utf-8
fconfigure stdout -encoding utf-8
regexp -line {^name='(.*)'$} [read stdin] all name
set name [string map {'\\'' '} $name]
set greeting [string map {\\ \\\\ \" \\\"} "Hello, $name!"]
puts "{\"greeting\": \"$greeting\", \"version\": \"[info patchlevel]\"}"
