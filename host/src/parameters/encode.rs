//! Parameters and secrets as the text that a program reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use crate::pack::ParameterFormat;
use crate::secret::Secrets;

/// The name under which secrets go, where values can be nested.
const SECRETS: &str = "secrets";

/// Why parameters have no such text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("the parameter `{name}` leaves no place for the secrets of that name")]
    Clash { name: String },
    #[error(
        "the parameter `{name}` has no place in the format `dotenv` that the action reads: a name there is made of letters, digits and `_`, and begins with no digit"
    )]
    VariableName { name: String },
    #[error(
        "the value of `{name}` contains a NUL byte, which the format `dotenv` that the action reads can't hold"
    )]
    Nul { name: String },
    #[error("the parameters cannot be written as YAML: {message}")]
    Yaml { message: String },
}

/// Writes parameters in the format that an action declares.
///
/// JSON and YAML have the secrets in an object `secrets`, if there are any. In YAML every text is quoted,
/// so that each version of it reads the same. The format `dotenv` has a line `name='value'` for each
/// parameter, quoted as a POSIX shell reads it, with objects and arrays as JSON and null as nothing,
/// and a line `SECRET_NAME='value'` for each secret.
pub fn encode(
    format: ParameterFormat,
    parameters: &Map<String, Json>,
    secrets: &Secrets,
) -> Result<Vec<u8>, EncodeError> {
    let text = match format {
        ParameterFormat::Json => Json::Object(with_secrets(parameters, secrets)?).to_string() + "\n",
        ParameterFormat::Yaml => {
            let options = serde_saphyr::ser_options! { quote_all: true, prefer_block_scalars: false };
            serde_saphyr::to_string_with_options(&with_secrets(parameters, secrets)?, options)
                .map_err(|error| EncodeError::Yaml { message: error.to_string() })?
        }
        ParameterFormat::Dotenv => dotenv(parameters, secrets)?,
    };
    Ok(text.into_bytes())
}

fn with_secrets(parameters: &Map<String, Json>, secrets: &Secrets) -> Result<Map<String, Json>, EncodeError> {
    let mut all = parameters.clone();
    if !secrets.is_empty() {
        let values = secrets.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        if all.insert(SECRETS.to_owned(), Json::Object(values)).is_some() {
            return Err(EncodeError::Clash { name: SECRETS.to_owned() });
        }
    }
    Ok(all)
}

fn dotenv(parameters: &Map<String, Json>, secrets: &Secrets) -> Result<String, EncodeError> {
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    let parameters = parameters.iter().map(|(name, value)| {
        let text = match value {
            Json::Null => String::new(),
            Json::String(text) => text.clone(),
            Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => value.to_string(),
        };
        (name.clone(), text)
    });
    let secrets = secrets.iter().map(|(name, value)| (crate::secret::variable_name(name), value.to_owned()));
    for (name, value) in parameters.chain(secrets) {
        let mut bytes = name.bytes();
        let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !starts_well || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(EncodeError::VariableName { name });
        }
        if value.contains('\0') {
            return Err(EncodeError::Nul { name });
        }
        if lines.contains_key(&name) {
            return Err(EncodeError::Clash { name });
        }
        lines.insert(name, value);
    }
    let mut text = String::new();
    for (name, value) in lines {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{name}='{}'", value.replace('\'', r"'\''"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: Json) -> Map<String, Json> {
        match value {
            Json::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    fn secrets() -> Secrets {
        Secrets::from_iter([("api-token".to_owned(), "it's s3cret".to_owned())])
    }

    fn check(format: ParameterFormat, parameters: Json, secrets: &Secrets, expected: &str) {
        let text = encode(format, &object(parameters), secrets).expect("encoded");
        assert_eq!(String::from_utf8(text).expect("text"), expected);
    }

    #[test]
    fn formats() {
        let parameters = json!({"name": "O'Neill", "on": true, "n": 1.5, "list": [1, "a"], "none": null});
        let none = Secrets::default();
        check(ParameterFormat::Json, json!({}), &none, "{}\n");
        check(
            ParameterFormat::Json,
            json!({"b": "é", "a": 1}),
            &secrets(),
            "{\"b\":\"é\",\"a\":1,\"secrets\":{\"api-token\":\"it's s3cret\"}}\n",
        );
        check(
            ParameterFormat::Dotenv,
            parameters,
            &secrets(),
            "SECRET_API_TOKEN='it'\\''s s3cret'\nlist='[1,\"a\"]'\nn='1.5'\nname='O'\\''Neill'\nnone=''\non='true'\n",
        );
        let text = encode(ParameterFormat::Yaml, &object(json!({"a": "no"})), &secrets()).expect("encoded");
        let text = String::from_utf8(text).expect("text");
        assert!(text.contains("'no'") || text.contains("\"no\""), "{text}");
        let read: Json = serde_saphyr::from_str(&text).expect("YAML");
        assert_eq!(read, json!({"a": "no", "secrets": {"api-token": "it's s3cret"}}));
    }

    #[test]
    fn what_has_no_text_is_an_error() {
        let clash = |format, parameters| encode(format, &object(parameters), &secrets());
        let error = EncodeError::Clash { name: "secrets".to_owned() };
        assert_eq!(clash(ParameterFormat::Json, json!({"secrets": 1})), Err(error.clone()));
        assert_eq!(clash(ParameterFormat::Yaml, json!({"secrets": 1})), Err(error));
        assert!(clash(ParameterFormat::Dotenv, json!({"secrets": 1})).is_ok());
        let error = EncodeError::Clash { name: "SECRET_API_TOKEN".to_owned() };
        assert_eq!(clash(ParameterFormat::Dotenv, json!({"SECRET_API_TOKEN": 1})), Err(error));
        for name in ["", "a b", "1a", "a-b", "é", "a\nb=c"] {
            let error = EncodeError::VariableName { name: name.to_owned() };
            assert_eq!(clash(ParameterFormat::Dotenv, json!({name: 1})), Err(error));
        }
        let error = EncodeError::Nul { name: "a".to_owned() };
        assert_eq!(clash(ParameterFormat::Dotenv, json!({"a": "x\0y"})), Err(error));
    }

    fn values() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            (-1e9..1e9_f64).prop_map(Json::from),
            r#"[ -~é\n\t"'\\:#]{0,12}"#.prop_map(Json::from),
            prop::sample::select(vec![
                "no",
                "on",
                "~",
                "null",
                "3.10",
                "1:30",
                "0x1f",
                "2020-01-01",
                "- a",
                "|"
            ])
            .prop_map(Json::from),
        ];
        leaf.prop_recursive(3, 20, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::vec(("[a-z_:# -]{0,6}", inner), 0..4)
                    .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn yaml_and_json_are_read_back_the_same(value in values()) {
            let parameters = object(json!({"value": value}));
            let none = Secrets::default();
            let text = encode(ParameterFormat::Yaml, &parameters, &none).expect("encoded");
            let text = String::from_utf8(text).expect("text");
            let read: Json = serde_saphyr::from_str(&text).map_err(|error| TestCaseError::fail(format!("{text}\n{error}")))?;
            prop_assert_eq!(&read, &Json::Object(parameters.clone()), "{}", text);
            let text = encode(ParameterFormat::Json, &parameters, &none).expect("encoded");
            prop_assert_eq!(serde_json::from_slice::<Json>(&text).expect("JSON"), read);
        }
    }

    #[test]
    fn a_shell_reads_back_what_dotenv_says() {
        let value = "it's \"$HOME\" `id` \\ \n  two\t* 'x'\\";
        let text = encode(ParameterFormat::Dotenv, &object(json!({"value": value})), &Secrets::default());
        let script =
            format!("{}printf %s \"$value\"", String::from_utf8(text.expect("encoded")).expect("text"));
        let output = std::process::Command::new("/bin/sh").arg("-c").arg(script).output().expect("run");
        assert_eq!(String::from_utf8_lossy(&output.stdout), value);
    }
}
