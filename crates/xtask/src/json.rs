//! Just enough JSON to read what the client prints: one value, no streaming, no speed.

/// Numbers stay text: some are 64-bit ids, which a float would round.
#[derive(Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// `None` for anything that is not one whole JSON value.
    pub fn parse(text: &str) -> Option<Json> {
        let mut rest = text;
        let value = value(&mut rest)?;
        rest.trim_start().is_empty().then_some(value)
    }

    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(fields) => fields.iter().find(|(known, _)| known == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text of a string or of a number.
    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) | Json::Number(text) => Some(text),
            _ => None,
        }
    }

    pub fn list(&self) -> &[Json] {
        match self {
            Json::List(items) => items,
            _ => &[],
        }
    }
}

fn value(rest: &mut &str) -> Option<Json> {
    *rest = rest.trim_start();
    match rest.chars().next()? {
        '{' => items(rest, '}', |rest| {
            let name = string(rest)?;
            take(rest, ":")?;
            Some((name, value(rest)?))
        })
        .map(Json::Object),
        '[' => items(rest, ']', value).map(Json::List),
        '"' => string(rest).map(Json::Text),
        'n' => take(rest, "null").map(|()| Json::Null),
        't' => take(rest, "true").map(|()| Json::Bool(true)),
        'f' => take(rest, "false").map(|()| Json::Bool(false)),
        _ => {
            let end = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
            let (number, behind) = rest.split_at(end);
            *rest = behind;
            number.parse::<f64>().ok().map(|_| Json::Number(number.into()))
        }
    }
}

/// What stands between an opening bracket, which is next, and `close`.
fn items<T>(rest: &mut &str, close: char, mut item: impl FnMut(&mut &str) -> Option<T>) -> Option<Vec<T>> {
    let mut found = Vec::new();
    *rest = rest[1..].trim_start();
    if let Some(behind) = rest.strip_prefix(close) {
        *rest = behind;
        return Some(found);
    }
    loop {
        found.push(item(rest)?);
        *rest = rest.trim_start();
        if let Some(behind) = rest.strip_prefix(close) {
            *rest = behind;
            return Some(found);
        }
        take(rest, ",")?;
    }
}

fn string(rest: &mut &str) -> Option<String> {
    take(rest, "\"")?;
    let mut text = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => text.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'u' => {
                    let code = chars.as_str().get(..4)?;
                    chars = chars.as_str()[4..].chars();
                    // Half of a surrogate pair: only names for people could hold one.
                    char::from_u32(u32::from_str_radix(code, 16).ok()?).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
                plain => plain,
            }),
            plain => text.push(plain),
        }
    }
    *rest = chars.as_str();
    Some(text)
}

fn take(rest: &mut &str, token: &str) -> Option<()> {
    *rest = rest.trim_start().strip_prefix(token)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_value() {
        let json =
            Json::parse(r#" {"id": 18446744073709551615, "name": "a\"\u0041\n", "up": true, "none": null, "list": [1, -2.5e3, [], {}]} "#);
        let json = json.expect("valid");
        assert_eq!(json.get("id").and_then(Json::text), Some("18446744073709551615"));
        assert_eq!(json.get("name").and_then(Json::text), Some("a\"A\n"));
        assert_eq!(json.get("up"), Some(&Json::Bool(true)));
        assert_eq!(json.get("none"), Some(&Json::Null));
        assert_eq!(json.get("list").map(|list| list.list().len()), Some(4));
        assert_eq!(json.get("missing"), None);
    }

    #[test]
    fn anything_else_is_no_value() {
        for text in ["", "{", "[1,]", "{\"a\"}", "1 2", "\"open", "nul", "{\"a\":1,}", "\"\\u12\""] {
            assert_eq!(Json::parse(text), None, "{text}");
        }
    }
}
