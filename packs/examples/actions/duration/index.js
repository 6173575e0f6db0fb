'use strict';

// `ms` comes from the environment that `package.json` beside this file asks for.
const fs = require('node:fs');
const ms = require('ms');

const { text } = JSON.parse(fs.readFileSync(0, 'utf8'));
console.log(JSON.stringify({ milliseconds: ms(text) }));
