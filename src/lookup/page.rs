//! Pages for people: plain HTML that works without scripts.

use crate::core::lookup::answer::Answer;
use crate::core::lookup::error::LookupError;
use crate::http::Response;

/// Label, parameter and example of each form.
const FORMS: [(&str, &str, &str); 4] = [
    ("IP address", "ip", "192.0.2.1"),
    ("Hardware address", "mac", "68b5.99fc.d1df"),
    ("Domain", "domain", "example.com"),
    ("AS number", "asn", "AS64496"),
];

/// Styles only, and forms only to ourselves (W3C CSP level 3).
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;\
color-scheme:light dark}form{display:flex;gap:.5rem;margin:.4rem 0}label{flex:0 0 10rem}input{flex:1;font:inherit}\
button{font:inherit}pre{overflow-x:auto;border:1px solid;padding:.8rem}";

/// The page with the forms.
pub(super) fn form() -> Response {
    page(200, "Look up", "<p>What is this address? Ask about one thing at a time.</p>")
}

/// An answer, below it the forms.
pub(super) fn answer(answer: &Answer) -> Response {
    let body = format!("<pre>{}</pre>", escape(&answer.to_text()));
    page(200, &answer.query, &body)
}

/// An error, below it the forms.
pub(super) fn error(error: &LookupError) -> Response {
    page(error.status(), "No answer", &format!("<p role=\"alert\">{}</p>", escape(&error.to_string())))
}

fn page(status: u16, title: &str, body: &str) -> Response {
    let forms: String = FORMS
        .iter()
        .map(|(label, name, example)| {
            format!(
                "<form action=\"/lookup\"><label for=\"{name}\">{label}</label>\
                 <input id=\"{name}\" name=\"{name}\" placeholder=\"{example}\" required>\
                 <input type=\"hidden\" name=\"format\" value=\"html\"><button>Look up</button></form>\n"
            )
        })
        .collect();
    let title = escape(title);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title} - vipkeeper</title>\
         <style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n{body}\n{forms}\
         <p><a href=\"/openapi.json\">For programs</a></p></body></html>\n"
    );
    let mut response = Response { content_type: "text/html; charset=utf-8", ..Response::text(status, html) };
    response.headers.push(("content-security-policy", POLICY.into()));
    response
}

/// Text as HTML that shows it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_say_is_no_markup() {
        assert_eq!(escape("<script>'\"&"), "&lt;script&gt;&#39;&quot;&amp;");
        let page = String::from_utf8(error(&LookupError::Body("<img src=x>".to_owned())).body).unwrap();
        assert!(page.contains("&lt;img src=x&gt;") && !page.contains("<img"));
    }
}
