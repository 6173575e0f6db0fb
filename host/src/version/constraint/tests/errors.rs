use super::*;

/// What is read is the part of the text that the error marks.
#[track_caller]
fn check(text: &str, read: &str, message: &str, hint: &str) {
    let error = Constraint::parse(text).expect_err(text);
    assert_eq!(
        (error.read(), error.message.as_str(), error.hint.as_deref()),
        (read, message, Some(hint)),
        "{text}"
    );
}

#[test]
fn versions() {
    check("3.012", "012", "`012` begins with a zero", "write `12`");
    check("00.1", "00", "`00` begins with a zero", "write `0`");
    check(">=.3", ".3", "`.3` lacks a number beside a dot", "write all numbers, from the major version on");
    check("3.", "3.", "`3.` lacks a number beside a dot", "write `3`");
    check("3..1", "3..1", "`3..1` lacks a number beside a dot", "write `3.1`");
    check("3.*.1", "1", "`3.*.1` goes on after a wildcard", "end with the first wildcard: `3.*`");
    check("3.x.x", "x", "`3.x.x` goes on after a wildcard", "end with the first wildcard: `3.x`");
    check("x.1", "x.1", "`x.1` has a wildcard for the major version", "write `*` alone for any version");
    check("x", "x", "`x` has a wildcard for the major version", "write `*` alone for any version");
    check(">=3.1.4.1", "3.1.4.1", "`3.1.4.1` has 4 parts, a version has at most three", "write `3.1.4`");
    check(
        "3.1000000000000000",
        "1000000000000000",
        "`1000000000000000` is too large",
        "a part of a version has at most 15 digits",
    );
    for (text, rest, number, hint) in [
        ("3.13t", "t", 13, "write a variant as `3.13+name`"),
        ("3.13.1t", "t", 1, "write a variant as `3.13.1+name`"),
        (">=3.13.0rc1", "rc1", 0, "write `3.13.0-rc.1`"),
        ("3.14a2", "a2", 14, "write `3.14.0-alpha.2`"),
        ("<3.14b10", "b10", 14, "write `3.14.0-beta.10`"),
        ("3.14.0alpha", "alpha", 0, "write `3.14.0-alpha`"),
        ("3.14dev3", "dev3", 14, "write `3.14.0-dev.3`"),
        ("8u392", "u392", 8, "write a prerelease as `3.14.0-rc.1`, a variant as `3.13+name`"),
        ("3.14rc01", "rc01", 14, "write a prerelease as `3.14.0-rc.1`, a variant as `3.13+name`"),
        ("3rc1.2", "rc1", 3, "write a prerelease as `3.14.0-rc.1`, a variant as `3.13+name`"),
    ] {
        check(text, rest, &format!("`{rest}` follows the number {number}"), hint);
    }
    check("3.a", "a", "`a` is not a number", "a version is up to three numbers joined by dots");
    check("tool3.12", "tool3.12", "`tool3.12` is not a version", "write `3.12`");
    check(
        ">=tool",
        "tool",
        "`tool` is not a version, and an alias stands alone",
        "write `tool` alone, or versions only",
    );
    check(">=_", "_", "`_` is not a number", "a version is up to three numbers joined by dots");
}

#[test]
fn prereleases_and_variants() {
    check("3.14-rc.1", "-rc.1", "`-rc.1` follows a version that is not complete", "write `3.14.0-rc.1`");
    check(
        "3.9-3.11",
        "-3.11",
        "`-3.11` follows a version that is not complete",
        "write a range with spaces: `3.9 - 3.11`",
    );
    check("3.12.x-rc.1", "-rc.1", "`-rc.1` follows a version that is not complete", "write `3.12.0-rc.1`");
    check(
        "3.9- 3.11",
        "-",
        "nothing follows the hyphen",
        "write a range with spaces on both sides: `3.9 - …`",
    );
    check(
        "3.14.0-rc.01",
        "-rc.01",
        "`rc.01` is not a prerelease",
        "write letters, digits and `-` in parts joined by dots, numbers without leading zeros",
    );
    check("3.13+", "+", "nothing follows the `+`", "write the variant after it, or `3.13`");
    check(
        "=17.0.9+9",
        "9",
        "`+9` is build metadata, which never matters to matching",
        "leave it out; the name of a variant begins with a letter",
    );
    check(
        "3+a/b",
        "a/b",
        "`a/b` is not the name of a variant",
        "use letters, digits, `-`, `_` and `.`, a letter first",
    );
    check(
        ">=3.13+pypy, <4+debug",
        "debug",
        "`+debug` differs from `+pypy` before it",
        "a constraint asks for one variant; write another action for the other",
    );
    for (text, read) in
        [("3.13+debug || 3.12", "3.12"), ("3.13 || >=3.12, <4+debug || 3", ">=3.12, <4+debug")]
    {
        check(
            text,
            read,
            "some alternatives ask for a variant and some don't",
            "write `+debug` in each of them",
        );
    }
}

#[test]
fn operators() {
    check("=>3", "=>", "`=>` is not an operator", "write `>=`");
    check("=<3", "=<", "`=<` is not an operator", "write `<=`");
    check(">>3", ">>", "`>>` is not an operator", "write `>`");
    check("===3", "===", "`===` is not an operator", "write `=`");
    check("!3", "!", "`!` is not an operator", "write `!=`");
    check("<>3", "<>", "`<>` is not an operator", "write `!=`");
    check(
        ">~3",
        ">~",
        "`>~` is not an operator",
        "operators are `=`, `!=`, `>`, `>=`, `<`, `<=`, `~` and `^`",
    );
    check("> =3", "> =", "`=` follows the operator `>`", "write `>=`, without a space");
    check("< =3", "< =", "`=` follows the operator `<`", "write `<=`, without a space");
    check("> >3", "> >", "`>` follows the operator `>`", "write one operator before each version");
    check(">=", ">=", "`>=` has no version after it", "write `>=3.12`, or leave it out");
    check("==, 3", "==", "`==` has no version after it", "write `==3.12`, or leave it out");
    check(">*", ">*", "`>` compares with any version", "write `*` alone for any version");
    check("!= *", "!= *", "`!=` compares with any version", "write `*` alone for any version");
    check(">=3.12.*", "3.12.*", "`>=` does not go with the wildcard of `3.12.*`", "write `>=3.12`");
}

#[test]
fn compatible_release() {
    for (text, hint) in [
        ("~=3.12.1", "write `~3.12.1`"),
        ("~> 3.12.1", "write `~3.12.1`"),
        ("~=3.12", "write `^3.12`"),
        ("~>v3", "write `3`"),
        ("~=0.3", "write `>=0.3, <1`"),
        ("~=", "write `~3.12.1` to let the last number grow, `^3.12` to let the last but one"),
    ] {
        check(text, &text[..2], &format!("`{}` is not an operator here", &text[..2]), hint);
    }
}

#[test]
fn separators() {
    check(">=3.12,", ",", "there is nothing after the comma", "leave it out");
    check(">=3.12, || 3", ",", "there is nothing after the comma", "leave it out");
    check(",3.12", ",", "there is nothing before the comma", "leave it out");
    check(">=3.12,,<4", ",", "there is nothing between two commas", "leave one out");
    check(">=3 && <4", "&&", "`&&` means nothing", "write a comma or a space for “and”");
    check("3 & 4", "&", "`&` means nothing", "write a comma or a space for “and”");
    check("3 | 4", "|", "`|` means nothing", "write `||` for “or”");
    check("3 ||| 4", "|||", "`|||` means nothing", "write `||` for “or”");
    check(">=3 and <4", "and", "`and` is not a word of constraints", "write a comma or a space");
    check("3 OR 4", "OR", "`OR` is not a word of constraints", "write `||`");
    check(
        ">=3<4",
        "<",
        "nothing separates `<` from what is before it",
        "write a comma or a space before `<`",
    );
    for (text, side) in [("||", "before"), ("|| 3", "before"), ("3 ||", "after"), ("3 || || 4", "after")] {
        check(
            text,
            "||",
            &format!("there is nothing {side} `||`"),
            "leave the `||` out, or write `*` if any version will do",
        );
    }
}

#[test]
fn hyphens() {
    check(
        "3.9 -3.11",
        "-3.11",
        "`-3.11` begins with a hyphen",
        "write a range with a space on both sides of the hyphen: `… - 3.11`",
    );
    check("3.9 -", "-", "the range has no upper end", "write `>=3.9` for a range without an upper end");
    check(
        "- 3.9",
        "-",
        "the range has no lower end",
        "write a version before the hyphen, or `<=` instead of it",
    );
    check(
        ">=3.9 - 3.11",
        ">=",
        "`>=` begins a range with a hyphen",
        "write the range without operators: `3.9 - …`",
    );
    check(
        "3.9 - <4",
        "<",
        "a range with a hyphen has no operators",
        "write `3.9 - …` with a plain version, or two comparisons",
    );
    check(
        "3.9 - 3.x",
        "3.x",
        "`3.x` ends a range with a wildcard",
        "write `3`, which takes the whole series",
    );
    check(
        "* - 3",
        "*",
        "`*` ends a range with a wildcard",
        "write `>=` or `<=` for a range without one of its ends",
    );
}

#[test]
fn aliases() {
    check("LTS", "LTS", "the alias `LTS` has capital letters", "write `lts`");
    check("lts/*", "lts/*", "the alias `lts/*` has a wildcard", "write `lts`");
    check(
        "lts || 18",
        "lts",
        "`lts` is not a version, and an alias stands alone",
        "write `lts` alone, or versions only",
    );
    check("lts/", "lts/", "`lts/` is not a version", "write a version, such as `3.12`");
}

#[test]
fn characters() {
    check(
        "3.12\t",
        "\t",
        "the control character U+0009 is not allowed",
        "write an ordinary space, or nothing",
    );
    check(
        "3\u{a0}4",
        "\u{a0}",
        "`\\u{a0}` (U+00A0) is not an ASCII character",
        "write an ordinary space, or nothing",
    );
    check("3.١", "١", "`١` (U+0661) is not an ASCII digit", "write the digits `0` to `9`");
    check("≥3", "≥", "`≥` (U+2265) is not an ASCII character", "write `>=`");
    check(
        "3 – 4",
        "–",
        "`–` (U+2013) is not an ASCII character",
        "write `-`, with spaces on both sides for a range",
    );
    check("'3'", "'", "`'` means nothing in a constraint", "leave out the quotation marks");
    check(">=3;<4", ";", "`;` means nothing in a constraint", "write a comma for “and”, `||` for “or”");
    check(
        "(3)",
        "(",
        "`(` means nothing in a constraint",
        "leave out the parentheses: `||` separates alternatives, commas bind closer",
    );
    check(
        "3@4",
        "@",
        "`@` means nothing in a constraint",
        "a constraint is made of versions, operators, commas, spaces and `||`",
    );
}

#[test]
fn limits() {
    let versions = |count: usize| vec!["3"; count].join(" || ");
    assert!(Constraint::parse(&versions(32)).is_ok());
    check(
        &versions(33),
        "3",
        "a constraint compares with at most 32 versions",
        "join neighbouring versions into ranges",
    );
    let hyphens = vec!["1 - 2"; 17].join(" || ");
    check(
        &hyphens,
        "1",
        "a constraint compares with at most 32 versions",
        "join neighbouring versions into ranges",
    );

    let long = |length: usize| format!("{:>length$}", "3.12");
    assert!(Constraint::parse(&long(256)).is_ok());
    let error = Constraint::parse(&long(257)).expect_err("too long");
    assert_eq!(error.message, "the text has 257 characters, a constraint has at most 256");
    assert_eq!(error.column(), 257);
    assert!(error.rendered().lines().all(|line| line.chars().count() < 300));
}

#[test]
fn rendering() {
    let rendered = |text: &str| Constraint::parse(text).expect_err(text).rendered();
    insta::assert_snapshot!(rendered(">=3.12, ~=3.13.1"), @r"
    column 9: `~=` is not an operator here
        >=3.12, ~=3.13.1
                ^^
        write `~3.13.1`
    ");
    insta::assert_snapshot!(rendered(">=3.\u{661}2, <4"), @r"
    column 5: `١` (U+0661) is not an ASCII digit
        >=3.\u{661}2, <4
            ^^^^^^^
        write the digits `0` to `9`
    ");
    assert!(!rendered("3.12\u{1b}[2J").contains('\u{1b}'));
}
