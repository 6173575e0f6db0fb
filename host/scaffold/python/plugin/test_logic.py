import unittest

import logic


class Logic(unittest.TestCase):
    def test_versions_have_three_numbers(self):
        for native, expected in [
            ("1.2.3", "1.2.3"),
            ("1.2", "1.2.0"),
            ("1.2.3.4", "1.2.3+4"),
            ("1.2.x", None),
            ("", None),
        ]:
            self.assertEqual(logic.semver(native), expected, native)

    def test_the_entry_point_is_between_its_arguments_and_the_interpreters(self):
        self.assertEqual(logic.start(["-w"], "x", ["a", "b"]), ["-w", "x", "a", "b"])


if __name__ == "__main__":
    unittest.main()
