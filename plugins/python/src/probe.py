import sys
sys.path[:] = [p for p in sys.path if p]
import os
facts = []
def say(key, value):
    facts.append('%s=%s' % (key, str(value if value is not None else '').replace('\n', ' ')))
def attempt(function):
    try:
        return function()
    except Exception:
        return ''
def venv_home():
    folder = os.path.dirname(sys.executable)
    for path in (os.path.join(folder, 'pyvenv.cfg'), os.path.join(os.path.dirname(folder), 'pyvenv.cfg')):
        if os.path.exists(path):
            with open(path) as lines:
                for line in lines:
                    name, _, value = line.partition('=')
                    if name.strip() == 'home':
                        return value.strip()
    return ''
def suffix():
    try:
        import _imp
        return _imp.extension_suffixes()[0]
    except ImportError:
        import imp
        return [s[0] for s in imp.get_suffixes() if s[2] == imp.C_EXTENSION][0]
implementation = getattr(sys, 'implementation', None)
say('version', '.'.join(str(part) for part in sys.version_info))
say('native', sys.version.split()[0])
say('implementation', getattr(implementation, 'name', 'pypy' if hasattr(sys, 'pypy_version_info') else 'cpython'))
say('executable', attempt(lambda: os.path.realpath(sys.executable)))
say('prefix', sys.prefix)
say('environment-of', attempt(venv_home))
say('arch', attempt(lambda: os.uname()[4]))
say('bits', 64 if sys.maxsize > 2 ** 32 else 32)
say('abiflags', getattr(sys, 'abiflags', ''))
say('abi', getattr(implementation, 'cache_tag', ''))
say('extension-suffix', attempt(suffix))
say('multiarch', getattr(implementation, '_multiarch', ''))
say('libc', attempt(lambda: os.confstr('CS_GNU_LIBC_VERSION')))
