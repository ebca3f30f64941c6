//! Numbers of JSON and of conditions, on one number line.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// A finite number. Numbers of different kinds compare by their exact values, as CEL asks:
/// `9007199254740993` is greater than `9007199254740992.0`.
///
/// ```
/// use halfping_shape::Number;
///
/// assert!(Number::of_json("9007199254740993") > Number::of_json("9007199254740992.0"));
/// assert_eq!(Number::of_json("1e2"), Some(Number::Int(100)));
/// assert_eq!(Number::of_json("1e400"), None);
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Number {
    /// An integer.
    Int(i64),
    /// An integer without a sign: a literal such as `5u`, or a number beyond `i64`.
    UInt(u64),
    /// A number of double precision. It is finite.
    Double(f64),
}

impl Number {
    /// The number of a JSON text; `None` if it is not one, or is out of range. A text without
    /// fraction and exponent is an integer and keeps all digits of 64 bits; any other is the
    /// nearest double.
    pub fn of_json(text: &str) -> Option<Number> {
        if let Ok(int) = text.parse() {
            return Some(Number::Int(int));
        }
        if let Ok(int) = text.parse() {
            return Some(Number::UInt(int));
        }
        let double: f64 = text.parse().ok()?;
        double.is_finite().then_some(Number::Double(double))
    }

    /// The nearest double: what readers that know no other numbers make of it.
    pub(crate) fn to_double(self) -> f64 {
        match self {
            Number::Int(int) => int as f64,
            Number::UInt(int) => int as f64,
            Number::Double(double) => double,
        }
    }

    /// The same number in the only way that equal numbers share: an integer if it is one that
    /// fits.
    pub(crate) fn normal(self) -> Number {
        match self {
            Number::UInt(int) => i64::try_from(int).map_or(self, Number::Int),
            Number::Double(double) if double.fract() == 0.0 => {
                let int = double as i128; // saturates far beyond 64 bits
                match (i64::try_from(int), u64::try_from(int)) {
                    (Ok(int), _) => Number::Int(int),
                    (_, Ok(int)) => Number::UInt(int),
                    _ => self,
                }
            }
            _ => self,
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Number) -> Ordering {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => a.cmp(b),
            // Neither is ever not a number.
            (Number::Double(a), Number::Double(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Number::Double(a), _) => with_double(other.int(), *a).reverse(),
            (_, Number::Double(b)) => with_double(self.int(), *b),
            _ => self.int().cmp(&other.int()),
        }
    }
}

impl Number {
    fn int(self) -> i128 {
        match self {
            Number::Int(int) => int.into(),
            Number::UInt(int) => int.into(),
            Number::Double(double) => double as i128,
        }
    }
}

/// An integer of 64 bits, compared with a double.
fn with_double(int: i128, double: f64) -> Ordering {
    // Beyond 128 bits the conversion saturates, which is still beyond any integer here.
    let whole = double.trunc() as i128;
    int.cmp(&whole).then_with(|| 0.0.partial_cmp(&double.fract()).unwrap_or(Ordering::Equal))
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Number) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.normal() {
            Number::Double(double) => double.to_bits().hash(state),
            int => (int.int() as u64).hash(state),
        }
    }
}

/// Writes a literal of CEL: `-5`, `18446744073709551615u`, `0.1`, `1e300`.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(int) => write!(f, "{int}"),
            Number::UInt(int) => write!(f, "{int}u"),
            // It always has a point or an exponent.
            Number::Double(double) => write!(f, "{double:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::of_json(text).unwrap()
    }

    #[test]
    fn numbers_of_all_kinds_stand_on_one_line() {
        let line = [
            "-1e300",
            "-9223372036854775809", // a double: -2^63
            "-9223372036854775807",
            "-1",
            "-0.5",
            "0",
            "5e-324",
            "9007199254740992.0",
            "9007199254740993",
            "9007199254740994.0",
            "9223372036854775807",
            "9223372036854775808.0",
            "9223372036854775809",
            "18446744073709551615",
            "18446744073709551616",
            "1e300",
        ];
        for (a, one) in line.iter().enumerate() {
            for (b, other) in line.iter().enumerate() {
                assert_eq!(number(one).cmp(&number(other)), a.cmp(&b), "{one} and {other}");
            }
        }
    }

    #[test]
    fn equal_numbers_have_one_normal_form_and_one_hash() {
        let hash = |number: Number| {
            let mut state = std::hash::DefaultHasher::new();
            number.hash(&mut state);
            state.finish()
        };
        let alike: [&[Number]; 4] = [
            &[Number::Int(1), Number::UInt(1), Number::Double(1.0)],
            &[Number::Int(0), Number::Double(-0.0), Number::Double(0.0)],
            &[Number::UInt(1 << 63), Number::Double(9_223_372_036_854_775_808.0)],
            &[Number::Int(i64::MIN), Number::Double(-9_223_372_036_854_775_808.0)],
        ];
        for numbers in alike {
            for number in numbers {
                assert_eq!(*number, numbers[0]);
                assert_eq!(number.normal().to_string(), numbers[0].normal().to_string());
                assert_eq!(hash(*number), hash(numbers[0]));
            }
        }
    }

    #[test]
    fn what_is_no_number_of_json_is_none() {
        for text in ["", "-", "1e400", "nan", "inf", "true"] {
            assert!(Number::of_json(text).is_none(), "{text}");
        }
    }
}
