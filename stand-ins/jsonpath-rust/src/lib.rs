//! What kube calls of the crate of this name: in a kubeconfig, `token-key: '{.credential.access_token}'` says where the
//! output of an `auth-provider`'s command has the token. The crate itself brings a grammar and regular expressions, and
//! half a megabyte, for filters that nobody writes there.

use serde_json::Value;

/// Finds values by a path.
pub trait JsonPath {
    /// The value at `$.name['other name'][0]`; none if there is nothing.
    ///
    /// # Errors
    /// A path of any other form.
    fn query(&self, path: &str) -> Result<Vec<&Value>, String>;
}

impl JsonPath for Value {
    fn query(&self, path: &str) -> Result<Vec<&Value>, String> {
        let odd = || format!("{path} is no path of names and numbers, such as $.name['other name'][0]");
        let mut rest = path.strip_prefix('$').ok_or_else(odd)?;
        let mut found = Some(self);
        while !rest.is_empty() {
            (found, rest) = step(found, rest).ok_or_else(odd)?;
        }
        Ok(found.into_iter().collect())
    }
}

/// One step down, and what is left of the path; `None` if the path is odd.
fn step<'v, 'p>(value: Option<&'v Value>, path: &'p str) -> Option<(Option<&'v Value>, &'p str)> {
    if let Some(path) = path.strip_prefix('.') {
        let (name, rest) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
        let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        return plain.then(|| (value.and_then(|value| value.get(name)), rest));
    }
    let path = path.strip_prefix('[')?;
    if let Some(quote) = path.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let (name, rest) = path[1..].split_once(quote)?;
        return Some((value.and_then(|value| value.get(name)), rest.strip_prefix(']')?));
    }
    let (number, rest) = path.split_once(']')?;
    let number: usize = number.parse().ok()?;
    Some((value.and_then(|value| value.get(number)), rest))
}
