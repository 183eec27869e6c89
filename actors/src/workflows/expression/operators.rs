//! Operators between values. Pure.

use std::cmp::Ordering;
use std::rc::Rc;

use super::evaluate::{Meter, Outcome, wrong};
use super::value::{List, Map, Val};

/// What stands between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
}

impl Operator {
    /// How it is written.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "in",
        }
    }
}

/// The value of `left operator right`.
pub(super) fn apply<'a>(
    operator: Operator,
    left: Val<'a>,
    right: Val<'a>,
    meter: &Meter,
) -> Outcome<Val<'a>> {
    match operator {
        Operator::Add => add(left, right, meter),
        Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
            arithmetic(operator, &left, &right)
        }
        Operator::Equal => equal(&left, &right, meter).map(Val::Bool),
        Operator::NotEqual => equal(&left, &right, meter).map(|same| Val::Bool(!same)),
        Operator::In => contains(&left, &right, meter).map(Val::Bool),
        Operator::Less => ordered(operator, &left, &right, meter, Ordering::is_lt),
        Operator::LessEqual => ordered(operator, &left, &right, meter, Ordering::is_le),
        Operator::Greater => ordered(operator, &left, &right, meter, Ordering::is_gt),
        Operator::GreaterEqual => ordered(operator, &left, &right, meter, Ordering::is_ge),
    }
}

/// The value of `-value`.
pub(super) fn negate(value: Val<'_>) -> Outcome<Val<'_>> {
    match value {
        Val::Int(int) => int.checked_neg().map_or_else(overflow, |int| Ok(Val::Int(int))),
        Val::Double(double) => Ok(Val::Double(-double)),
        other => wrong(format!("`-` asks for a number, and got {}", other.word())),
    }
}

fn overflow<T>() -> Outcome<T> {
    wrong("an integer becomes too large")
}

fn add<'a>(left: Val<'a>, right: Val<'a>, meter: &Meter) -> Outcome<Val<'a>> {
    match (left, right) {
        (Val::Text(left), Val::Text(right)) => {
            let (left, right) = (left.as_str(), right.as_str());
            meter.make(left.len() + right.len())?;
            Ok(Val::text(format!("{left}{right}")))
        }
        (Val::List(left), Val::List(right)) => {
            let size = size_of::<Val<'_>>();
            // What a macro gathers grows where it is; copying it each time would be quadratic.
            let mut items = match left {
                List::Made(items) => match Rc::try_unwrap(items) {
                    Ok(items) => items,
                    Err(shared) => {
                        meter.make(shared.len() * size)?;
                        shared.to_vec()
                    }
                },
                List::Borrowed(_) => {
                    meter.make(left.len() * size)?;
                    left.iter().collect()
                }
            };
            meter.make(right.len() * size)?;
            items.extend(right.iter());
            Ok(Val::list(items))
        }
        (left, right) => arithmetic(Operator::Add, &left, &right),
    }
}

fn arithmetic<'a>(operator: Operator, left: &Val<'_>, right: &Val<'_>) -> Outcome<Val<'a>> {
    match (left, right) {
        (Val::Int(_) | Val::Uint(_), Val::Int(_) | Val::Uint(_)) => integers(operator, left, right),
        _ => match (double(left), double(right)) {
            (Some(left), Some(right)) => doubles(operator, left, right),
            _ => mismatch(operator, left, right),
        },
    }
}

fn mismatch<T>(operator: Operator, left: &Val<'_>, right: &Val<'_>) -> Outcome<T> {
    let sign = operator.sign();
    let hint = match (operator, left, right) {
        (
            Operator::Add,
            Val::Text(_),
            Val::Bool(_) | Val::Int(_) | Val::Uint(_) | Val::Double(_),
        )
        | (
            Operator::Add,
            Val::Bool(_) | Val::Int(_) | Val::Uint(_) | Val::Double(_),
            Val::Text(_),
        ) => "; write string(...) around the one that is no text",
        (Operator::Add, Val::Text(_), _) | (Operator::Add, _, Val::Text(_)) => {
            "; write json(...) around the one that is no text"
        }
        _ => "",
    };
    wrong(format!("`{sign}` does not go between {} and {}{hint}", left.word(), right.word()))
}

fn wide(value: &Val<'_>) -> Option<i128> {
    match value {
        Val::Int(int) => Some((*int).into()),
        Val::Uint(uint) => Some((*uint).into()),
        _ => None,
    }
}

fn double(value: &Val<'_>) -> Option<f64> {
    match value {
        Val::Int(int) => Some(*int as f64),
        Val::Uint(uint) => Some(*uint as f64),
        Val::Double(double) => Some(*double),
        _ => None,
    }
}

fn integers<'a>(operator: Operator, left: &Val<'_>, right: &Val<'_>) -> Outcome<Val<'a>> {
    let (Some(a), Some(b)) = (wide(left), wide(right)) else {
        return mismatch(operator, left, right);
    };
    let made = match operator {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide | Operator::Remainder if b == 0 => return wrong("division by zero"),
        Operator::Divide => a.checked_div(b),
        Operator::Remainder => a.checked_rem(b),
        _ => return mismatch(operator, left, right),
    };
    match made {
        Some(made) => match (i64::try_from(made), u64::try_from(made)) {
            (Ok(int), _) => Ok(Val::Int(int)),
            (_, Ok(uint)) if matches!((left, right), (Val::Uint(_), _) | (_, Val::Uint(_))) => {
                Ok(Val::Uint(uint))
            }
            _ => overflow(),
        },
        None => overflow(),
    }
}

fn doubles<'a>(operator: Operator, left: f64, right: f64) -> Outcome<Val<'a>> {
    match operator {
        Operator::Add => Ok(Val::Double(left + right)),
        Operator::Subtract => Ok(Val::Double(left - right)),
        Operator::Multiply => Ok(Val::Double(left * right)),
        Operator::Divide => Ok(Val::Double(left / right)),
        _ => wrong(format!("`{}` goes between integers only", operator.sign())),
    }
}

/// Whether two values are equal: numbers by what they are worth, everything of different types is not.
pub(super) fn equal(left: &Val<'_>, right: &Val<'_>, meter: &Meter) -> Outcome<bool> {
    meter.step(1)?;
    match (left, right) {
        (Val::Null, Val::Null) => Ok(true),
        (Val::Bool(left), Val::Bool(right)) => Ok(left == right),
        (Val::Text(left), Val::Text(right)) => {
            meter.read(left.as_str().len())?;
            Ok(left.as_str() == right.as_str())
        }
        (Val::List(left), Val::List(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right.iter()) {
                if !equal(&left, &right, meter)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Val::Map(left), Val::Map(right)) => equal_maps(left, right, meter),
        _ => Ok(compare_numbers(left, right) == Some(Some(Ordering::Equal))),
    }
}

fn equal_maps(left: &Map<'_>, right: &Map<'_>, meter: &Meter) -> Outcome<bool> {
    if left.len() != right.len() {
        return Ok(false);
    }
    meter.step(left.len() as u64)?;
    for key in left.keys() {
        let same = match (left.get(key.as_str()), right.get(key.as_str())) {
            (Some(left), Some(right)) => equal(&left, &right, meter)?,
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `left in right`.
fn contains(left: &Val<'_>, right: &Val<'_>, meter: &Meter) -> Outcome<bool> {
    match (left, right) {
        (_, Val::List(items)) => {
            for item in items.iter() {
                if equal(left, &item, meter)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Val::Text(key), Val::Map(entries)) => Ok(entries.get(key.as_str()).is_some()),
        (_, Val::Map(_)) => Ok(false),
        (Val::Text(_), Val::Text(_)) => {
            wrong("`in` looks into lists and objects; use text.contains(...)")
        }
        _ => wrong(format!("`in` looks into lists and objects, not {}", right.word())),
    }
}

fn ordered<'a>(
    operator: Operator,
    left: &Val<'_>,
    right: &Val<'_>,
    meter: &Meter,
    holds: fn(Ordering) -> bool,
) -> Outcome<Val<'a>> {
    let order = match (left, right) {
        (Val::Text(left), Val::Text(right)) => {
            meter.read(left.as_str().len())?;
            Some(left.as_str().cmp(right.as_str()))
        }
        (Val::Bool(left), Val::Bool(right)) => Some(left.cmp(right)),
        _ => match compare_numbers(left, right) {
            Some(order) => order,
            None => return mismatch(operator, left, right),
        },
    };
    Ok(Val::Bool(order.is_some_and(holds)))
}

/// How two numbers compare, exactly, also across their types; `None` where one is none, and inside where one is no
/// comparable number.
fn compare_numbers(left: &Val<'_>, right: &Val<'_>) -> Option<Option<Ordering>> {
    match (left, right) {
        (Val::Double(left), Val::Double(right)) => Some(left.partial_cmp(right)),
        (Val::Double(left), other) => {
            wide(other).map(|int| with_double(int, *left).map(Ordering::reverse))
        }
        (other, Val::Double(right)) => wide(other).map(|int| with_double(int, *right)),
        (left, right) => Some(Some(wide(left)?.cmp(&wide(right)?))),
    }
}

fn with_double(int: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Saturates far outside of what an integer of ours can be.
    let whole = double.trunc() as i128;
    let fraction = 0.0_f64.partial_cmp(&double.fract()).filter(|_| double.is_finite());
    Some(int.cmp(&whole).then(fraction.unwrap_or(Ordering::Equal)))
}
