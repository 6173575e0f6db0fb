<?php
// Parameters arrive on standard input as one JSON object; what is printed is the result.
$parameters = json_decode(file_get_contents('php://stdin'), true);
echo json_encode(['greeting' => "Hello, {$parameters['name']}!", 'version' => PHP_VERSION]);
