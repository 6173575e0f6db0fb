import os, sys
folder, noted = sys.argv[1:]
with open(noted, 'wb') as file:
    for name in sorted(os.listdir(os.fsencode(folder))):
        if name != b'__pycache__':
            file.write(name + b'\n')
            if os.path.isfile(os.path.join(os.fsencode(folder), name, b'__init__.py')):
                file.write(name + b'/__init__.py\n')
