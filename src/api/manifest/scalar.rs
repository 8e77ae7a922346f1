//! What an unquoted word of YAML means.
//!
//! kubectl reads YAML 1.1 and other programs 1.2, which disagree about `yes`, `0777` and `1_000`. A manifest must mean
//! the same to everybody, so a word that they read differently is an error.

use serde_json::Number;

use super::node::Data;

/// The meaning of a plain scalar.
///
/// # Errors
/// What to write instead of a word that has no one meaning, or none in JSON.
pub(super) fn resolve(word: &str) -> Result<Data, String> {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Data::Null),
        "true" | "True" | "TRUE" => return Ok(Data::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Data::Bool(false)),
        _ => {}
    }
    if matches!(word.to_ascii_lowercase().as_str(), "y" | "n" | "yes" | "no" | "on" | "off") {
        return Err("is a truth value to some readers of YAML and a text to others: write true or false, or quote it"
            .to_owned());
    }
    if matches!(word.trim_start_matches(['-', '+']).to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return Err("is no number that JSON has: write a finite one, or quote it".to_owned());
    }
    if is_decimal(word) {
        return number(word);
    }
    if is_other_number(word) {
        return Err("is a number in a notation that readers of YAML disagree about: write it in decimal digits, \
                    without leading zeros, or quote it"
            .to_owned());
    }
    Ok(Data::Text(word.to_owned()))
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a word is a number as JSON writes it.
fn is_decimal(word: &str) -> bool {
    let word = word.strip_prefix('-').unwrap_or(word);
    let (mantissa, exponent) = word.split_once(['e', 'E']).map_or((word, None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
    digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}

/// Whether a word is a number to some reader all the same: `+1`, `010`, `0x1f`, `0o17`, `1_000`, `.5`, `1.`.
fn is_other_number(word: &str) -> bool {
    let word = word.strip_prefix(['-', '+']).unwrap_or(word);
    let lower = word.to_ascii_lowercase();
    let in_base = |prefix: &str, base: u32| {
        lower.strip_prefix(prefix).is_some_and(|rest| {
            rest.chars().any(|c| c.is_digit(base)) && rest.chars().all(|c| c.is_digit(base) || c == '_')
        })
    };
    if in_base("0x", 16) || in_base("0o", 8) || in_base("0b", 2) {
        return true;
    }
    let plain = lower.replace('_', "");
    let (mantissa, exponent) = plain.split_once('e').map_or((plain.as_str(), None), |(m, e)| (m, Some(e)));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    lower.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && (digits(whole) || digits(fraction))
        && (whole.is_empty() || digits(whole))
        && (fraction.is_empty() || digits(fraction))
        && exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)))
}

fn number(word: &str) -> Result<Data, String> {
    if let Ok(whole) = word.parse::<i64>() {
        return Ok(Data::Number(whole.into()));
    }
    let is_whole = digits(word.strip_prefix('-').unwrap_or(word));
    word.parse::<f64>()
        .ok()
        .filter(|_| !is_whole)
        .and_then(Number::from_f64)
        .map(Data::Number)
        .ok_or_else(|| "is too large a number: whole numbers have at most 63 bits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_one_meaning_have_it() {
        assert_eq!(resolve("~"), Ok(Data::Null));
        assert_eq!(resolve("TRUE"), Ok(Data::Bool(true)));
        assert_eq!(resolve("-12"), Ok(Data::Number((-12).into())));
        assert_eq!(resolve("0"), Ok(Data::Number(0.into())));
        assert_eq!(resolve("1.5e3"), Ok(Data::Number(Number::from_f64(1500.0).unwrap_or(0.into()))));
        for text in
            ["198.51.100.20", "2001:db8::1", "::1", "3s", "1-2", "-", "e3", "0x", "a_b", "10.", "..", "1.2.3", "_1"]
        {
            let expected = if text == "10." { None } else { Some(Data::Text(text.to_owned())) };
            assert_eq!(resolve(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn words_with_several_meanings_have_none() {
        for word in
            ["yes", "No", "ON", "off", "y", "N", "010", "0x1F", "0o17", "0b11", "1_000", "+1", ".5", "1.", ".inf"]
        {
            assert!(resolve(word).is_err(), "{word}");
        }
        for word in ["-.INF", ".NaN", "99999999999999999999", "1e999", "-0x1", "+.5e3", "007.5"] {
            assert!(resolve(word).is_err(), "{word}");
        }
    }
}
