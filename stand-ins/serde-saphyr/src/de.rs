//! A tree into a type. What the type wants decides what an unquoted word is: a name may look like a number.

use serde::de::value::{MapDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::Error;
use crate::node::{Data, Node};

impl Node {
    /// The value that it is by itself, to a type that takes any.
    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() {
            return visitor.visit_unit();
        }
        match self.data {
            Data::Word { text, plain: true } => word(text, visitor),
            Data::Word { text, plain: false } => visitor.visit_string(text),
            Data::List(items) => {
                let mut items = SeqDeserializer::new(items.into_iter());
                let value = visitor.visit_seq(&mut items)?;
                items.end().map(|()| value)
            }
            Data::Map(entries) => {
                let mut entries = MapDeserializer::new(entries.into_iter());
                let value = visitor.visit_map(&mut entries)?;
                entries.end().map(|()| value)
            }
        }
    }

    /// The value for a type that wants text.
    fn text<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.data {
            Data::Word { text, .. } if !self.is_null() => visitor.visit_string(text),
            _ => self.any(visitor),
        }
    }

    /// The value for a type that wants a truth value, which YAML 1.1 has more words for.
    fn truth<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.data {
            Data::Word { text, plain: true } => match text.to_ascii_lowercase().as_str() {
                "y" | "yes" | "on" => visitor.visit_bool(true),
                "n" | "no" | "off" => visitor.visit_bool(false),
                _ => self.any(visitor),
            },
            _ => self.any(visitor),
        }
    }
}

/// An unquoted word that is not nothing.
fn word<'de, V: Visitor<'de>>(text: String, visitor: V) -> Result<V::Value, Error> {
    match text.as_str() {
        "true" | "True" | "TRUE" => return visitor.visit_bool(true),
        "false" | "False" | "FALSE" => return visitor.visit_bool(false),
        // Rust reads `inf` and `nan` as numbers, which YAML does not.
        _ if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) => {}
        _ => {
            if let Ok(number) = text.parse::<u64>() {
                return visitor.visit_u64(number);
            }
            if let Ok(number) = text.parse::<i64>() {
                return visitor.visit_i64(number);
            }
            if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
                return visitor.visit_f64(number);
            }
        }
    }
    visitor.visit_string(text)
}

impl<'de> Deserializer<'de> for Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let line = self.line;
        self.any(visitor).map_err(|error| error.at(line))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let line = self.line;
        self.text(visitor).map_err(|error| error.at(line))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let line = self.line;
        self.truth(visitor).map_err(|error| error.at(line))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let line = self.line;
        let value = match self.data {
            Data::Word { text, .. } => {
                let variant: StringDeserializer<Error> = text.into_deserializer();
                variant.deserialize_enum(name, variants, visitor)
            }
            // No type of kube's has variants with a value.
            Data::List(_) | Data::Map(_) => Err(Error::new(format!("expected one of {variants:?}"))),
        };
        value.map_err(|error| error.at(line))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq tuple tuple_struct map
        struct ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
