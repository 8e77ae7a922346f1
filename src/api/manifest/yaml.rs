//! YAML text into documents of nodes that know their lines.
//!
//! A manifest is hostile until it is read: nesting, aliases and sizes have limits, and a document that breaks one does
//! not stop those after it.

use std::collections::BTreeMap;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag, options};

use super::node::{Data, Entry, Node, join};
use super::problem::Fault;
use super::scalar;

/// The deepest nesting of a document, aliases followed.
pub(super) const MAX_DEPTH: usize = 32;
/// The most values that a document may have, aliases followed. An object of ours has at most 6,000.
pub(super) const MAX_NODES: usize = 20_000;
/// The most bytes of text that a document may have, aliases followed. etcd takes objects of at most 1.5 MiB.
pub(super) const MAX_TEXT: usize = 1 << 20;
/// After so many broken documents the rest of a file is not read: it is no manifest.
const MAX_BROKEN: usize = 100;

/// One document of a file.
#[derive(Debug)]
pub(super) struct Document {
    /// From 1; empty documents count.
    pub(super) number: u32,
    /// Its value, if it is well-formed; `None` also for an empty document.
    pub(super) root: Option<Node>,
    /// What is wrong with it.
    pub(super) faults: Vec<Fault>,
}

/// The documents of a text.
pub(super) fn documents(text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut broken = 0;
    let mut parser = Parser::new_from_str_with_options(text, parser_options());
    let mut number = 0;
    loop {
        match parser.next_event() {
            None | Some(Ok((Event::StreamEnd, _))) => break,
            Some(Ok((Event::DocumentStart(..), _))) => number += 1,
            Some(Ok((Event::StreamStart | Event::DocumentEnd | Event::Comment(..), _))) => continue,
            // Only what stands before a document, such as a directive, gives an error or a value here.
            Some(Ok(_)) => continue,
            Some(Err(error)) => {
                number += 1;
                documents.push(Document { number, root: None, faults: vec![syntax(&error)] });
                broken += 1;
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
                continue;
            }
        }
        let mut builder = Builder::default();
        let fatal = builder.build(&mut parser).err();
        let is_broken = fatal.is_some();
        let root = if is_broken { None } else { builder.root };
        let faults = builder.faults.into_iter().chain(fatal).collect();
        documents.push(Document { number, root, faults });
        if is_broken {
            broken += 1;
            if broken >= MAX_BROKEN || !matches!(parser.proceed_next_document(), Ok(true)) {
                break;
            }
        }
    }
    documents
}

fn parser_options() -> Options {
    options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    }
}

fn syntax(error: &ScanError) -> Fault {
    let line = line(error.marker().line());
    match error.kind() {
        ErrorKind::RecursionLimitExceeded => too_deep(line),
        ErrorKind::UnknownAnchor => {
            Fault::new(line, "", "an alias (*name) names an anchor (&name) that is not above it")
        }
        _ => Fault::new(line, "", format!("is no YAML: {}", error.info())),
    }
}

fn too_deep(line: u32) -> Fault {
    Fault::new(line, "", format!("is nested more than {MAX_DEPTH} levels deep"))
}

fn line(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A list or map that is not finished.
struct Open {
    node: Node,
    anchor: usize,
    /// The key whose value comes next, with its line.
    key: Option<(u32, String)>,
    /// Whether the value that comes next is thrown away, since its key is no good.
    skip: bool,
    /// The keys of a map, with their lines.
    keys: BTreeMap<String, u32>,
    /// How deep the values below are, aliases followed.
    depth: usize,
    /// The counts of values and of text when it was opened.
    before: (usize, usize),
}

/// An anchored value that aliases repeat.
struct Anchor {
    node: Node,
    size: Size,
}

/// What counts towards the limits, aliases followed.
#[derive(Clone, Copy)]
struct Size {
    /// Levels of lists and maps.
    depth: usize,
    /// Values.
    nodes: usize,
    /// Bytes of text.
    text: usize,
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    faults: Vec<Fault>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchor>,
    nodes: usize,
    text: usize,
}

impl Builder {
    /// Reads to the end of the document. An error is one after which the document cannot be read on.
    fn build<'a>(&mut self, parser: &mut Parser<'a, StrInput<'a>>) -> Result<(), Fault> {
        loop {
            let (event, span) = match parser.next_event() {
                Some(Ok(next)) => next,
                Some(Err(error)) => return Err(syntax(&error)),
                None => return Ok(()),
            };
            if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
                return Ok(());
            }
            self.take(event, &span)?;
        }
    }

    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Fault> {
        let at = line(span.start.line());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(at, 1, text.len())?;
                let data = self.scalar(at, &text, style, tag.as_deref());
                self.value(Node { line: at, data }, anchor, Size { depth: 0, nodes: 1, text: text.len() })
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(at, Data::List(Vec::new()), anchor, tag.as_deref()),
            Event::MappingStart(_, anchor, tag) => self.begin(at, Data::Map(Vec::new()), anchor, tag.as_deref()),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.alias(at, id),
            _ => Ok(()),
        }
    }

    fn count(&mut self, at: u32, nodes: usize, text: usize) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.text = self.text.saturating_add(text);
        if self.nodes > MAX_NODES {
            return Err(Fault::new(at, "", format!("has more than {MAX_NODES} values, aliases followed")));
        }
        if self.text > MAX_TEXT {
            return Err(Fault::new(at, "", format!("has more than {} KiB of text, aliases followed", MAX_TEXT >> 10)));
        }
        Ok(())
    }

    fn scalar(&mut self, at: u32, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Data {
        let is_text = style != ScalarStyle::Plain || tag.is_some_and(is_string_tag);
        self.check_tag(at, tag.filter(|tag| !is_string_tag(tag)));
        if is_text {
            return Data::Text(text.to_owned());
        }
        scalar::resolve(text).unwrap_or_else(|message| {
            let fault = Fault::new(at, self.path(), message).with_value(super::node::show(&text.into()));
            self.faults.push(fault);
            Data::Text(text.to_owned())
        })
    }

    fn check_tag(&mut self, at: u32, tag: Option<&Tag>) {
        if let Some(tag) = tag {
            let message = format!("has the tag {}, which means nothing here: leave it out", tag.original());
            self.faults.push(Fault::new(at, self.path(), message));
        }
    }

    fn begin(&mut self, at: u32, data: Data, anchor: usize, tag: Option<&Tag>) -> Result<(), Fault> {
        self.check_tag(at, tag);
        let before = (self.nodes, self.text);
        self.count(at, 1, 0)?;
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        let node = Node { line: at, data };
        self.open.push(Open { node, anchor, key: None, skip: false, keys: BTreeMap::new(), depth: 0, before });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let (nodes, text) = (self.nodes.saturating_sub(open.before.0), self.text.saturating_sub(open.before.1));
        self.value(open.node, open.anchor, Size { depth: open.depth, nodes, text })
    }

    fn alias(&mut self, at: u32, id: usize) -> Result<(), Fault> {
        let Some(size) = self.anchors.get(&id).map(|anchor| anchor.size) else {
            return Err(Fault::new(at, self.path(), "is an alias (*name) of a value that contains it"));
        };
        self.count(at, size.nodes, size.text)?;
        if self.open.len() + size.depth > MAX_DEPTH {
            return Err(too_deep(at));
        }
        match self.anchors.get(&id).map(|anchor| anchor.node.clone()) {
            Some(node) => self.value(node, 0, size),
            None => Ok(()),
        }
    }

    /// Puts a finished value where it belongs.
    fn value(&mut self, node: Node, anchor: usize, size: Size) -> Result<(), Fault> {
        if anchor > 0 {
            self.anchors.insert(anchor, Anchor { node: node.clone(), size });
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.depth = open.depth.max(size.depth + 1);
        match &mut open.node.data {
            Data::List(items) => items.push(node),
            Data::Map(entries) => match open.key.take() {
                Some((line, key)) if !open.skip => entries.push(Entry { key, value: Node { line, ..node } }),
                Some(_) => open.skip = false,
                None => self.key(&node),
            },
            Data::Null | Data::Bool(_) | Data::Number(_) | Data::Text(_) => {}
        }
        Ok(())
    }

    /// Takes a value as the key of the map that is open.
    fn key(&mut self, node: &Node) {
        let path = self.path();
        let Some(open) = self.open.last_mut() else { return };
        let fault = match node.text() {
            None => {
                let message = format!("has {} as a key: keys are strings, so quote it", node.type_name());
                Some(Fault::new(node.line, path, message).with_value(node.show()))
            }
            Some("<<") => {
                Some(Fault::new(node.line, join(&path, "<<"), "merge keys (<<) are not read: write the fields out"))
            }
            Some(key) => open.keys.insert(key.to_owned(), node.line).map(|first| {
                Fault::new(node.line, join(&path, key), format!("stands twice: line {first} has it already"))
            }),
        };
        open.skip = fault.is_some();
        open.key = Some((node.line, node.text().unwrap_or_default().to_owned()));
        self.faults.extend(fault);
    }

    /// Where the reading is, as the path of a field.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            match (&open.node.data, &open.key) {
                (Data::List(items), _) => path = format!("{path}[{}]", items.len()),
                (_, Some((_, key))) => path = join(&path, key),
                (_, None) => {}
            }
        }
        path
    }
}

fn is_string_tag(tag: &Tag) -> bool {
    tag.core_suffix() == Some("str") || (tag.suffix().is_empty() && tag.handle() == "!")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<(u32, String, String)> {
        documents(text).into_iter().flat_map(|d| d.faults).map(|f| (f.line, f.field, f.message)).collect()
    }

    fn only(text: &str) -> (u32, String, String) {
        let all = faults(text);
        assert_eq!(all.len(), 1, "{text:?}: {all:?}");
        all.into_iter().next().unwrap_or_default()
    }

    #[test]
    fn values_know_their_lines() {
        let documents = documents("# first\n---\na:\n  b: [1,\n    two]\n---\n---\nc: x\n");
        assert_eq!(documents.iter().map(|d| d.number).collect::<Vec<_>>(), [1, 2, 3]);
        let root = documents.first().and_then(|d| d.root.as_ref());
        let list = root.and_then(|root| root.get("a")).and_then(|a| a.get("b"));
        let Some(Node { line: 4, data: Data::List(items) }) = list else { panic!("{list:?}") };
        assert_eq!(items.iter().map(|item| item.line).collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn keys_are_strings_and_stand_once() {
        assert_eq!(only("a: 1\nb:\n  c: 1\n  c: 2\n").0, 4);
        assert_eq!(only("b:\n  c: 1\n  c: 2\n").1, "b.c");
        assert!(only("? [1]\n: 2\n").2.contains("a list as a key"));
        assert!(only("1: 2\n").2.contains("a number as a key"));
        assert!(only("yes: 2\n").2.contains("truth value"));
        assert!(faults("a: &x {b: 1}\nc:\n  <<: *x\n").iter().any(|(_, field, _)| field == "c[<<]"));
    }

    #[test]
    fn aliases_are_followed_within_limits() {
        let good = documents("a: &x [1, 2]\nb: *x\n");
        assert_eq!(
            good.first().and_then(|d| d.root.as_ref()).and_then(|r| r.get("b")).map(Node::show).as_deref(),
            Some("[1,2]")
        );
        assert!(only("a: &x [*x]\n").2.contains("contains it"));
        assert!(only("a: *x\n").2.contains("not above it"));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(", "));
        }
        assert!(only(&bomb).2.contains("more than 20000 values"));
        let mut text = format!("a: &a {}\nb: [", "x".repeat(1 << 16));
        text += &"*a, ".repeat(100);
        assert!(only(&(text + "]\n")).2.contains("KiB of text"));
        let mut deep = "a0: &a0 [x]\n".to_owned();
        for i in 1..100 {
            deep += &format!("a{i}: &a{i} [*a{}]\n", i - 1);
        }
        assert!(only(&deep).2.contains("levels deep"));
    }

    #[test]
    fn nesting_has_a_limit() {
        for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000)] {
            assert!(only(&text).2.contains("levels deep"), "{:?}", only(&text));
        }
    }

    #[test]
    fn a_broken_document_does_not_stop_the_next() {
        let documents = documents("a: [1\n---\nb: 2\n---\nc: : :\n---\nd: 4\n");
        let good: Vec<_> = documents.iter().filter_map(|d| d.root.as_ref()).map(Node::show).collect();
        assert_eq!(good, [r#"{"b":2}"#, r#"{"d":4}"#]);
        assert_eq!(documents.iter().filter(|d| !d.faults.is_empty()).map(|d| d.number).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn tags_are_refused_but_for_strings() {
        assert!(only("a: !!python/object x\n").2.contains("tag"));
        let documents = documents("a: !!str 1\nb: ! yes\n");
        assert_eq!(
            documents.first().and_then(|d| d.root.as_ref()).map(Node::show).as_deref(),
            Some(r#"{"a":"1","b":"yes"}"#)
        );
    }
}
