//! Filling in what a schema has defaults for.

use serde_json::Value as Json;

/// How many references to other parts of the schema are followed one after another.
const REFERENCES_MAX: usize = 16;
/// How deep defaults go, and how many there are at most: a schema may contain itself.
const DEPTH_MAX: usize = 32;
const COUNT_MAX: usize = 10_000;

/// Gives every absent property its default, in objects within objects and arrays too. An object that is
/// itself absent and has no default stays absent: whether it is wanted is for the caller to say.
pub(super) fn fill_in(schema: &Json, value: &mut Json) {
    fill_in_part(schema, schema, value);
}

/// The same by a part of the schema `root`.
pub(crate) fn fill_in_part(root: &Json, part: &Json, value: &mut Json) {
    Filling { root, left: COUNT_MAX }.fill(part, value, 0);
}

struct Filling<'a> {
    root: &'a Json,
    /// How many more defaults may be filled in.
    left: usize,
}

impl Filling<'_> {
    fn fill(&mut self, schema: &Json, value: &mut Json, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        let schema = resolve(self.root, schema);
        match value {
            Json::Object(object) => {
                let Some(properties) = schema.get("properties").and_then(Json::as_object) else { return };
                for (name, property) in properties {
                    // What stands beside a reference comes before what it refers to.
                    let default = [property, resolve(self.root, property)];
                    if let Some(default) = default.iter().find_map(|schema| schema.get("default"))
                        && self.left > 0
                        && !object.contains_key(name)
                    {
                        self.left -= 1;
                        object.insert(name.clone(), default.clone());
                    }
                    if let Some(value) = object.get_mut(name) {
                        self.fill(property, value, depth + 1);
                    }
                }
            }
            Json::Array(items) => {
                if let Some(schema) = schema.get("items") {
                    for item in items {
                        self.fill(schema, item, depth + 1);
                    }
                }
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }
}

/// Follows references within the schema.
pub(super) fn resolve<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    let mut schema = schema;
    for _ in 0..REFERENCES_MAX {
        let pointer = schema.get("$ref").and_then(Json::as_str).and_then(|text| text.strip_prefix('#'));
        match pointer.and_then(|pointer| root.pointer(pointer)) {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: &Json, mut value: Json, expected: &Json) {
        fill_in(schema, &mut value);
        assert_eq!(value, *expected, "{schema}");
    }

    #[test]
    fn absent_properties_get_their_defaults() {
        let schema = json!({"properties": {
            "a": {"default": 1},
            "b": {"default": null},
            "c": {"properties": {"d": {"default": [1]}}},
            "e": {"default": {}, "properties": {"f": {"default": 2}}},
            "g": {"items": {"properties": {"h": {"default": 3}}}},
            "i": {"$ref": "#/$defs/i"},
        }, "$defs": {"i": {"default": 4}}});
        check(&schema, json!({}), &json!({"a": 1, "b": null, "e": {"f": 2}, "i": 4}));
        check(
            &schema,
            json!({"a": null, "b": 0, "c": {}, "e": {"f": 0}, "g": [{}, {"h": 0}, 7], "i": 0}),
            &json!({"a": null, "b": 0, "c": {"d": [1]}, "e": {"f": 0}, "g": [{"h": 3}, {"h": 0}, 7], "i": 0}),
        );
        check(&schema, json!([1]), &json!([1]));
        check(&json!(true), json!({}), &json!({}));
    }

    #[test]
    fn circles_end() {
        let circle = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}});
        check(&circle, json!({"x": {}}), &json!({"x": {}}));
        let tree = json!({"properties": {"leaf": {"$ref": "#"}, "n": {"default": 1}}});
        check(&tree, json!({"leaf": {}}), &json!({"leaf": {"n": 1}, "n": 1}));
        let endless = json!({"properties": {
            "a": {"default": {}, "$ref": "#"},
            "b": {"default": {}, "$ref": "#"},
        }});
        let mut value = json!({});
        fill_in(&endless, &mut value);
        assert!(value["a"]["a"].is_object(), "a default beside a reference counts");
        assert!(value.to_string().matches("{}").count() <= COUNT_MAX);
    }
}
