//! SHA-256 of bytes and of values, in hexadecimal.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Digest of a value, by way of its JSON. A value that JSON can't hold, such as a path that is no text, has
/// another digest every time: whatever is kept under it is never taken for the answer to something else.
pub(crate) fn of_json<T: Serialize>(value: &T) -> String {
    match serde_json::to_vec(value) {
        Ok(json) => of_bytes(&json),
        Err(_) => of_bytes(uuid::Uuid::now_v7().as_bytes()),
    }
}

/// Digest of bytes.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Two lower-case digits for each byte.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn what_json_cannot_hold_equals_nothing() {
        let path = PathBuf::from(OsString::from_vec(vec![0xff]));
        assert_ne!(of_json(&path), of_json(&path));
    }

    #[test]
    fn digests_are_those_of_the_standard() {
        assert_eq!(of_bytes(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hexadecimal(&[0, 1, 0xab, 0xff]), "0001abff");
        assert_eq!(of_json(&("abc", 1)), of_bytes(br#"["abc",1]"#));
    }
}
