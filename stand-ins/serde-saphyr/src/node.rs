//! A text into trees: aliases followed and merge keys (`<<`) spread, within limits.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Tag, options};

use crate::Error;

/// The deepest nesting.
const MAX_DEPTH: usize = 64;
/// The most values of a text, aliases followed.
const MAX_NODES: usize = 100_000;

/// A value and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) data: Data,
}

#[derive(Debug, Clone)]
pub(crate) enum Data {
    /// A word, and whether it stands there without quotes, so that it may be a number or nothing at all.
    Word { text: String, plain: bool },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    pub(crate) fn is_null(&self) -> bool {
        let Data::Word { text, plain: true } = &self.data else { return false };
        matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    fn is_merge_key(&self) -> bool {
        matches!(&self.data, Data::Word { text, plain: true } if text == "<<")
    }
}

/// The trees of a text's documents.
pub(crate) fn documents(text: &str) -> Result<Vec<Node>, Error> {
    let limits = options! { emit_comments: false, flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
    let mut parser = Parser::new_from_str_with_options(text, limits);
    let mut builder = Builder::default();
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| Error::new(error.info()).at(error.marker().line()))?;
        let line = span.start.line();
        builder.take(event, line).map_err(|error| error.at(line))?;
    }
    Ok(builder.documents)
}

/// What is read so far.
#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    /// The lists and maps that are not finished, the innermost last, with their anchors.
    open: Vec<(Node, usize)>,
    /// The keys whose values come next, one for each open map that has read one.
    keys: Vec<Option<Node>>,
    anchors: BTreeMap<usize, Node>,
    count: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Error> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !tag.as_deref().is_some_and(is_string_tag);
                let data = Data::Word { text: text.into_owned(), plain };
                self.count(1)?;
                self.finish(Node { line, data }, anchor);
                Ok(())
            }
            Event::SequenceStart(_, anchor, _) => self.begin(Data::List(Vec::new()), anchor, line),
            Event::MappingStart(_, anchor, _) => self.begin(Data::Map(Vec::new()), anchor, line),
            Event::SequenceEnd | Event::MappingEnd => {
                self.keys.pop();
                let Some((node, anchor)) = self.open.pop() else { return Ok(()) };
                self.finish(spread(node)?, anchor);
                Ok(())
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(Error::new("an alias (*name) names no anchor (&name) that ends above it"));
                };
                let size = size(node);
                let node = node.clone();
                self.count(size)?;
                self.finish(node, 0);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, more: usize) -> Result<(), Error> {
        self.count += more;
        if self.count > MAX_NODES { Err(Error::new("too many values")) } else { Ok(()) }
    }

    fn begin(&mut self, data: Data, anchor: usize, line: usize) -> Result<(), Error> {
        self.count(1)?;
        self.open.push((Node { line, data }, anchor));
        self.keys.push(None);
        if self.open.len() > MAX_DEPTH { Err(Error::new("nested too deeply")) } else { Ok(()) }
    }

    /// Puts a finished value where it belongs.
    fn finish(&mut self, node: Node, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match (self.open.last_mut().map(|(open, _)| &mut open.data), self.keys.last_mut()) {
            (Some(Data::List(items)), _) => items.push(node),
            (Some(Data::Map(entries)), Some(key)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(node),
            },
            _ => self.documents.push(node),
        }
    }
}

/// How many values a tree has.
fn size(node: &Node) -> usize {
    1 + match &node.data {
        Data::Word { .. } => 0,
        Data::List(items) => items.iter().map(size).sum(),
        Data::Map(entries) => entries.iter().map(|(key, value)| size(key) + size(value)).sum(),
    }
}

/// A map with what its merge keys name, as far as it does not say that itself.
fn spread(node: Node) -> Result<Node, Error> {
    let Data::Map(entries) = node.data else { return Ok(node) };
    let (merged, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| key.is_merge_key());
    for (_, value) in merged {
        let sources = match value.data {
            Data::List(items) => items,
            _ => vec![value],
        };
        for source in sources {
            let Data::Map(more) = source.data else { return Err(Error::new("a merge key (<<) names no map")) };
            for (key, value) in more {
                if !own.iter().any(|(has, _)| same_word(has, &key)) {
                    own.push((key, value));
                }
            }
        }
    }
    Ok(Node { line: node.line, data: Data::Map(own) })
}

fn same_word(one: &Node, other: &Node) -> bool {
    matches!((&one.data, &other.data), (Data::Word { text: a, .. }, Data::Word { text: b, .. }) if a == b)
}

fn is_string_tag(tag: &Tag) -> bool {
    tag.core_suffix() == Some("str") || (tag.suffix().is_empty() && tag.handle() == "!")
}
