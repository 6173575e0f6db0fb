sys.stdout.write('\n%s%s\n' % ('@MARK@', '-begin'))
for fact in facts:
    sys.stdout.write(fact + '\n')
sys.stdout.write('%s%s\n' % ('@MARK@', '-end'))
sys.stdout.flush()
