import re
library = os.path.dirname(os.__file__)
def ssl():
    try:
        import _ssl
        return getattr(_ssl, 'OPENSSL_VERSION', 'yes')
    except ImportError:
        return ''
def pip():
    for folder in sys.path:
        path = os.path.join(folder, 'pip', '__init__.py')
        if os.path.isfile(path):
            with open(path) as source:
                found = re.search('__version__ = [\'"]([^\'"]+)', source.read())
            return found.group(1) if found else 'unknown'
    return ''
def pip_wheel():
    for folder in (os.path.join(library, 'ensurepip', '_bundled'), '/usr/share/python-wheels'):
        if os.path.isdir(folder):
            for name in sorted(os.listdir(folder)):
                if name.startswith('pip-') and name.endswith('.whl'):
                    return os.path.join(folder, name)
    return ''
say('ssl', attempt(ssl))
say('venv', 'yes' if os.path.isdir(os.path.join(library, 'venv')) else '')
say('pip', attempt(pip))
say('pip-wheel', attempt(pip_wheel))
