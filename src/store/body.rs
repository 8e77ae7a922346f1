//! The JSON of an object, which not everybody looks into.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Deserializer, Value};

/// The JSON of an object: a value, or a text that becomes one when somebody looks into it. A text takes a fraction of the
/// memory, and is read as a type in a fraction of the time.
#[derive(Clone, Default)]
pub struct Body {
    text: Option<Text>,
    value: OnceLock<Value>,
}

#[derive(Clone)]
struct Text {
    json: Arc<str>,
    uid: Arc<str>,
    version: Arc<str>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    uid: String,
}

/// The text of a member of an object; `None` if the object, which is JSON, has none of that name.
pub(super) fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = object.trim_start().strip_prefix('{')?;
    loop {
        let (key, after) = take::<String>(rest)?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        let (IgnoredAny, after) = take(value)?;
        if key == name {
            return value.strip_suffix(after);
        }
        rest = after.trim_start().strip_prefix(',')?;
    }
}

/// The first value of a text, and what follows it.
fn take<T: DeserializeOwned>(text: &str) -> Option<(T, &str)> {
    let mut values = Deserializer::from_str(text).into_iter();
    let value = values.next()?.ok()?;
    Some((value, text.get(values.byte_offset()..)?))
}

impl Body {
    /// The body of an object of this text, which has metadata and in it no `resourceVersion`, at a version; `None` if the
    /// text is not so.
    pub(super) fn at_version(text: &str, version: u64) -> Option<Self> {
        let metadata = member(text, "metadata")?;
        let Metadata { uid } = serde_json::from_str(metadata).ok()?;
        // The metadata is a part of the text: behind its first brace there is room for one more field.
        let inner = metadata.as_ptr().addr() - text.as_ptr().addr() + 1;
        let (before, after) = text.split_at_checked(inner)?;
        let comma = if after.trim_start().starts_with('}') { "" } else { "," };
        let json = format!("{before}\"resourceVersion\":\"{version}\"{comma}{after}");
        let text = Text { json: json.into(), uid: uid.into(), version: version.to_string().into() };
        Some(Self { text: Some(text), value: OnceLock::new() })
    }

    /// The object as its type.
    ///
    /// # Errors
    /// It does not have the type's shape; the error names the field.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        match (self.value.get(), &self.text) {
            (None, Some(text)) => serde_json::from_str(&text.json),
            _ => T::deserialize(&**self),
        }
    }

    pub(super) fn uid(&self) -> &str {
        match &self.text {
            Some(text) => &text.uid,
            None => self["metadata"]["uid"].as_str().unwrap_or_default(),
        }
    }

    pub(super) fn version(&self) -> &str {
        match &self.text {
            Some(text) => &text.version,
            None => self["metadata"]["resourceVersion"].as_str().unwrap_or_default(),
        }
    }
}

impl Deref for Body {
    type Target = Value;

    fn deref(&self) -> &Value {
        // The text was read once, as far as its form goes.
        let read = || self.text.as_ref().and_then(|text| serde_json::from_str(&text.json).ok());
        self.value.get_or_init(|| read().unwrap_or_default())
    }
}

impl DerefMut for Body {
    fn deref_mut(&mut self) -> &mut Value {
        // Whoever changes the value leaves the text behind.
        let value = Value::from(std::mem::take(self));
        *self = Self::from(value);
        self.value.get_mut().expect("it was set just now")
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self { text: None, value: value.into() }
    }
}

impl From<Body> for Value {
    fn from(body: Body) -> Self {
        let _read = &*body;
        body.value.into_inner().unwrap_or_default()
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_says_what_its_value_says_and_its_version() {
        for (text, uid) in [
            (r#"{"kind":"X","metadata":{"name":"a\"}{","uid":"7"},"spec":{"metadata":{}}}"#, "7"),
            (r#"{"metadata": { } }"#, ""),
        ] {
            let body = Body::at_version(text, 12).unwrap();
            assert_eq!((body.uid(), body.version()), (uid, "12"));
            let mut value: Value = serde_json::from_str(text).unwrap();
            value["metadata"]["resourceVersion"] = json!("12");
            assert_eq!(body.parse::<Value>().unwrap(), value);
            assert_eq!(body, Body::from(value.clone()));
            assert_eq!(body.parse::<Value>().unwrap(), value);
            let mut changed = body.clone();
            changed["metadata"]["uid"] = json!("8");
            assert_eq!((changed.uid(), body.uid()), ("8", uid), "a change is one of the value");
            assert_eq!(changed.parse::<Value>().unwrap()["metadata"]["uid"], "8");
        }
        assert!(["", "[]", "{", "{}", r#"{"metadata":7}"#].iter().all(|text| Body::at_version(text, 1).is_none()));
    }
}
