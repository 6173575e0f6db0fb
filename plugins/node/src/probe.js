var fs = require('fs'), p = process, facts = [];
function say(key, value) {
  facts.push(key + '=' + String(value === undefined || value === null ? '' : value).replace(/\n/g, ' '));
}
say('native', p.version);
say('implementation', p.versions.bun ? 'bun' : p.versions.electron ? 'electron' : p.release && p.release.name);
say('executable', fs.realpathSync(p.execPath));
say('arch', p.arch);
say('platform', p.platform);
say('lts', p.release && p.release.lts);
say('abi', p.versions.modules);
say('napi', p.versions.napi);
say('v8', p.versions.v8);
say('openssl', p.versions.openssl);
p.stdout.write('\n@MARK@' + '-begin\n' + facts.join('\n') + '\n@MARK@' + '-end\n');
