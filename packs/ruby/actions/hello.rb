# Parameters arrive on standard input as one JSON object; what is printed is the result.
require 'json'

parameters = JSON.parse($stdin.read)
puts JSON.generate(greeting: "Hello, #{parameters['name']}!", version: RUBY_VERSION)
