require 'rbconfig'
executable = begin
  File.realpath('/proc/self/exe')
rescue SystemCallError
  File.realpath(RbConfig.ruby)
end
has = lambda do |library, version|
  begin
    require library
    version.call
  rescue LoadError, StandardError
    ''
  end
end
facts = {
  'implementation' => RUBY_ENGINE,
  'version' => RUBY_VERSION,
  'native' => RUBY_ENGINE == 'ruby' ? RUBY_DESCRIPTION.split[1] : RUBY_ENGINE_VERSION,
  'executable' => executable,
  'platform' => RUBY_PLATFORM,
  'abi' => RbConfig::CONFIG['ruby_version'],
  'openssl' => has.call('openssl', lambda { OpenSSL::OPENSSL_LIBRARY_VERSION }),
  'bundler' => has.call('bundler/version', lambda { Bundler::VERSION }),
}
mark = '@MARK@'
$stdout.puts('', mark + '-be' + 'gin', facts.map { |name, value| "#{name}=#{value}" }, mark + '-e' + 'nd')
