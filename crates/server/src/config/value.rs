//! What a key holds, and how its value is read from TOML or from plain text.

use toml::de::DeValue;

/// A value of the right kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Whole(u64),
    Switch(bool),
    Text(String),
    List(Vec<String>),
}

/// What is allowed for a key.
#[derive(Debug)]
pub enum Kind {
    /// `of` is the unit, empty where there is none.
    Whole {
        min: u64,
        max: u64,
        of: &'static str,
    },
    Switch,
    OneOf(&'static [&'static str]),
    Text(Rule),
    /// In text separated by commas. The example is a TOML literal.
    List {
        rule: Rule,
        example: &'static str,
    },
}

/// What a text must be.
#[derive(Debug)]
pub struct Rule {
    /// For people.
    pub says: &'static str,
    pub holds: fn(&str) -> bool,
}

impl Kind {
    /// The value that a TOML literal stands for, if it is allowed.
    pub fn from_toml(&self, literal: &DeValue<'_>) -> Option<Value> {
        let value = match (self, literal) {
            (Kind::Whole { .. }, DeValue::Integer(digits)) => Value::Whole(u64::from_str_radix(digits.as_str(), digits.radix()).ok()?),
            (Kind::Switch, DeValue::Boolean(on)) => Value::Switch(*on),
            (Kind::OneOf(_) | Kind::Text(_), DeValue::String(text)) => Value::Text(text.to_string()),
            (Kind::List { .. }, DeValue::Array(items)) => {
                Value::List(items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        self.allows(&value).then_some(value)
    }

    /// The value that a flag's or an environment variable's text stands for, if it is allowed.
    pub fn from_text(&self, text: &str) -> Option<Value> {
        let value = match self {
            Kind::Whole { .. } => Value::Whole(text.parse().ok()?),
            Kind::Switch => Value::Switch(text.parse().ok()?),
            Kind::OneOf(_) | Kind::Text(_) => Value::Text(text.to_owned()),
            Kind::List { .. } => Value::List(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()),
        };
        self.allows(&value).then_some(value)
    }

    /// What is allowed, in TOML, for an error message.
    pub fn allowed_in_toml(&self) -> String {
        match self {
            Kind::Text(rule) => format!("in quotes, {}", rule.says),
            Kind::OneOf(words) => format!("one of \"{}\"", words.join("\", \"")),
            Kind::List { rule, example } => format!("a list of {}, such as {example}", rule.says),
            _ => self.allowed_in_text(),
        }
    }

    /// What is allowed in a flag or an environment variable, for an error message.
    pub fn allowed_in_text(&self) -> String {
        match self {
            Kind::Whole { min, max, of: "" } => format!("a whole number from {min} to {max}"),
            Kind::Whole { min, max, of } => format!("a whole number of {of} from {min} to {max}"),
            Kind::Switch => "true or false".to_owned(),
            Kind::OneOf(words) => format!("one of {}", words.join(", ")),
            Kind::Text(rule) => rule.says.to_owned(),
            Kind::List { rule, .. } => format!("{}, separated by commas", rule.says),
        }
    }

    fn allows(&self, value: &Value) -> bool {
        match (self, value) {
            (Kind::Whole { min, max, .. }, Value::Whole(number)) => (min..=max).contains(&number),
            (Kind::OneOf(words), Value::Text(text)) => words.contains(&text.as_str()),
            (Kind::Text(rule), Value::Text(text)) => (rule.holds)(text),
            (Kind::List { rule, .. }, Value::List(items)) => items.iter().all(|item| (rule.holds)(item)),
            (Kind::Switch, Value::Switch(_)) => true,
            _ => unreachable!("a value is read as its key's kind"),
        }
    }
}
