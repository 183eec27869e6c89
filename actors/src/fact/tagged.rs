//! An event's kind stands inside its body, beside its fields: `{"kind":"task.claimed","attempt":1}`. Pure.
//!
//! serde writes and reads an enum in this form too (`tag = "kind"`), but it reads all fields into a buffer first, because
//! the kind could come last. Here it is known from the event: the fields are read straight from the text.

use std::cell::RefCell;

use bytes::Bytes;
use serde::Serialize;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, VariantAccess, Visitor,
};
use serde_json::Error;

/// Room that is kept for the next body, in bytes: nearly all have less.
const ROOM: usize = 16 << 10;

/// Writes an event of this kind, which is a variant with named fields.
pub(super) fn write(kind: &str, event: &impl Serialize) -> Bytes {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        write_to(scratch, kind, event);
        let body = Bytes::copy_from_slice(scratch);
        scratch.shrink_to(ROOM);
        body
    })
}

fn write_to(body: &mut Vec<u8>, kind: &str, event: &impl Serialize) {
    // Of itself serde writes `{"kind":{fields}}`, which is shorter by so much.
    let (before, behind) = (r#"{"kind":""#, r#"","#);
    let head = before.len() + kind.len() + behind.len();
    let nested = r#"{"":{"#.len() + kind.len();
    body.resize(head - nested, b' ');
    serde_json::to_writer(&mut *body, event).expect("facts have string keys only");
    debug_assert!(
        body[head - nested + 2..].starts_with(kind.as_bytes()),
        "named otherwise: {kind}"
    );
    body[..before.len()].copy_from_slice(before.as_bytes());
    body[before.len()..head - behind.len()].copy_from_slice(kind.as_bytes());
    body[head - behind.len()..head].copy_from_slice(behind.as_bytes());
    body.pop();
    if body.len() == head + 1 {
        // No fields, no comma.
        body.remove(head - 1);
    }
}

/// An event of a known kind, to be read.
pub(super) struct Tagged<'de> {
    pub kind: &'de str,
    pub body: &'de [u8],
}

impl<'de> Tagged<'de> {
    /// The fields, and among them the kind, which no variant has.
    fn fields<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        let mut text = serde_json::Deserializer::from_slice(self.body);
        let fields = seed.deserialize(&mut text)?;
        text.end().map(|()| fields)
    }
}

impl<'de> Deserializer<'de> for Tagged<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_enum(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Tagged<'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let kind: StrDeserializer<'_, Error> = self.kind.into_deserializer();
        Ok((seed.deserialize(kind)?, self))
    }
}

impl<'de> VariantAccess<'de> for Tagged<'de> {
    type Error = Error;

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.fields(Map(visitor))
    }

    /// So serde asks for named fields of which some are flattened.
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        self.fields(seed)
    }

    fn unit_variant(self) -> Result<(), Error> {
        Err(unnamed())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, Error> {
        Err(unnamed())
    }
}

/// What is seen of a map.
struct Map<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Map<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<V::Value, D::Error> {
        from.deserialize_map(self.0)
    }
}

fn unnamed() -> Error {
    Error::custom("an event has named fields")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// The same event twice: as it is in the product, and as serde itself writes and reads this form.
    macro_rules! twice {
        ($($body:tt)*) => {
            mod ours {
                use super::*;
                #[derive(Debug, PartialEq, Serialize, Deserialize)]
                $($body)*
            }
            mod serdes {
                use super::*;
                #[derive(Debug, PartialEq, Serialize, Deserialize)]
                #[serde(tag = "kind")]
                $($body)*
            }
        };
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Seen {
        waited: u64,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        names: Vec<String>,
    }

    twice! {
        pub(super) enum Event {
            #[serde(rename = "empty")]
            Empty {},
            #[serde(rename = "plain")]
            Plain { n: u32, #[serde(default, skip_serializing_if = "Option::is_none")] text: Option<String> },
            #[serde(rename = "flat")]
            Flat { n: i64, #[serde(flatten)] seen: Seen },
        }
    }

    fn seen() -> Seen {
        Seen { waited: 7, names: vec!["\u{1}\"ü".into()] }
    }

    #[test]
    fn text_is_what_serde_itself_writes_and_reads_back() {
        let text = Some("}}".to_owned());
        let both = [
            ("empty", ours::Event::Empty {}, serdes::Event::Empty {}),
            (
                "plain",
                ours::Event::Plain { n: 1, text: None },
                serdes::Event::Plain { n: 1, text: None },
            ),
            (
                "plain",
                ours::Event::Plain { n: 1, text: text.clone() },
                serdes::Event::Plain { n: 1, text },
            ),
            (
                "flat",
                ours::Event::Flat { n: -1, seen: seen() },
                serdes::Event::Flat { n: -1, seen: seen() },
            ),
        ];
        for (kind, ours, serdes) in both {
            let body = write(kind, &ours);

            assert_eq!(
                String::from_utf8(body.to_vec()).unwrap(),
                serde_json::to_string(&serdes).unwrap()
            );
            assert_eq!(ours::Event::deserialize(Tagged { kind, body: &body }).unwrap(), ours);
        }
    }

    #[test]
    fn fields_of_a_newer_build_are_passed_over_wherever_the_kind_stands() {
        let body = br#"{"n":2,"added":{"kind":"x"},"kind":"plain"}"#;

        let event = ours::Event::deserialize(Tagged { kind: "plain", body }).unwrap();

        assert_eq!(event, ours::Event::Plain { n: 2, text: None });
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        for (kind, body) in [
            ("unknown", r#"{"kind":"unknown"}"#),
            ("plain", r#"{"kind":"plain"}"#),
            ("plain", r#"{"kind":"plain","n":1}}"#),
            ("plain", r#"{"kind":"plain","n":1"#),
            ("flat", r#"{"kind":"flat","n":1}"#),
            ("flat", r#"{"kind":"flat","n":1,"waited":1} x"#),
            ("empty", r#"[]"#),
        ] {
            let read = ours::Event::deserialize(Tagged { kind, body: body.as_bytes() });
            assert!(read.is_err(), "{body}");
        }
    }
}
