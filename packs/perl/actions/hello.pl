# Parameters arrive on standard input as one JSON object; what is printed is the result.
use strict;
use warnings;
use JSON::PP;

my $parameters = decode_json(do { local $/; <STDIN> });
print encode_json({
    greeting => "Hello, $parameters->{name}!",
    version  => sprintf('%vd', $^V),
});
