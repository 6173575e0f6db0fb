import unittest

import logic


class Logic(unittest.TestCase):
    def test_versions(self):
        for native, expected in [
            ("8.6.13", "8.6.13"),
            ("9.0.0", "9.0.0"),
            ("9.0b2", "9.0.0-beta.2"),
            ("8.7a5", "8.7.0-alpha.5"),
            ("8.6", None),
            ("8.6.x", None),
            ("", None),
        ]:
            self.assertEqual(logic.semver(native), expected, native)

    def test_only_what_is_framed_counts(self):
        framed = f"noise=1\n{logic.MARK}-begin\nnative=8.6.13\nexecutable=/a=b\n{logic.MARK}-end\nmore=1\n"
        self.assertEqual(logic.facts(framed), {"native": "8.6.13", "executable": "/a=b"})
        self.assertIsNone(logic.facts("native=8.6.13\n"))

    def test_scripts_are_read_in_one_encoding(self):
        self.assertEqual(logic.start("8.6.13", [], "x", ["a"]), ["-encoding", "utf-8", "x", "a"])
        self.assertEqual(logic.start("9.0.0", ["-w"], "x", []), ["-w", "x"])


if __name__ == "__main__":
    unittest.main()
