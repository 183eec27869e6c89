//! From the parser's tree to ours: names become places, and what cannot be evaluated is refused. Pure.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
};

use super::References;
use super::functions::{self, Function, Style};
use super::nearest::meant;
use super::operators::Operator;
use super::program::{Fold, Literal, Node, Program, Variable};

/// Deepest tree that is evaluated: evaluation recurses, on the stack of an actor.
const DEPTH_MAX: usize = 96;

/// How macros are written; what the parser knows is expanded by then, so these are wrong.
const MACROS: [(&str, &str); 6] = [
    ("has", "has(previous.score)"),
    ("all", "list.all(item, condition)"),
    ("exists", "list.exists(item, condition)"),
    ("exists_one", "list.exists_one(item, condition)"),
    ("filter", "list.filter(item, condition)"),
    ("map", "list.map(item, value)"),
];

/// What is wrong, and the word that it is about.
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) word: Option<String>,
}

fn fault<T>(message: impl Into<String>, word: Option<&str>) -> Result<T, Fault> {
    Err(Fault { message: message.into(), word: word.map(str::to_owned) })
}

/// The program of a tree.
pub(super) fn program(tree: &IdedExpr) -> Result<Program, Fault> {
    let mut lowering = Lowering {
        references: References::default(),
        locals: Vec::new(),
        taken: None,
        asking: false,
        depth: 0,
    };
    let root = lowering.node(tree)?;
    Ok(Program { root, references: lowering.references })
}

struct Lowering {
    references: References,
    /// Variables of macros, as they will lie on the stack.
    locals: Vec<String>,
    /// What a macro has gathered, while its step is lowered: the step needs it once.
    taken: Option<usize>,
    /// Inside of `has(...)`.
    asking: bool,
    depth: usize,
}

impl Lowering {
    fn node(&mut self, tree: &IdedExpr) -> Result<Node, Fault> {
        if self.depth >= DEPTH_MAX {
            return fault("the expression has too many parts inside of each other", None);
        }
        self.depth += 1;
        let node = match &tree.expr {
            Expr::Unspecified => fault("this cannot be read as an expression", None),
            Expr::Literal(value) => literal(value).map(Node::Literal),
            Expr::Ident(name) => self.ident(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.nodes(&list.elements).map(Node::List),
            Expr::Map(map) => self.map(map.entries.iter().map(|entry| &entry.expr)),
            Expr::Comprehension(fold) => self.fold(fold),
            Expr::Struct(made) => {
                let message = format!(
                    "`{}{{...}}` is no type here; an object is {{\"key\": value}}",
                    made.type_name
                );
                fault(message, Some(&made.type_name))
            }
        };
        self.depth -= 1;
        node
    }

    fn nodes(&mut self, trees: &[IdedExpr]) -> Result<Vec<Node>, Fault> {
        trees.iter().map(|tree| self.node(tree)).collect()
    }

    fn boxed(&mut self, tree: &IdedExpr) -> Result<Box<Node>, Fault> {
        self.node(tree).map(Box::new)
    }

    fn ident(&mut self, name: &str) -> Result<Node, Fault> {
        if let Some(place) = self.locals.iter().rposition(|local| local == name) {
            let taken = self.taken == Some(place);
            return Ok(if taken { Node::Taken(place) } else { Node::Local(place) });
        }
        let variable = self.variable(name)?;
        self.references.every_step |= variable == Variable::Steps;
        Ok(Node::Variable(variable))
    }

    fn variable(&mut self, name: &str) -> Result<Variable, Fault> {
        let Some(variable) = Variable::ALL.into_iter().find(|known| known.name() == name) else {
            let hint = match Function::find(name) {
                Some(function) => format!("; a function is called: {}", function.call),
                None => meant(name, Variable::ALL.into_iter().map(Variable::name)),
            };
            let known = "there are `input`, `previous`, `steps`, `iteration` and `run`";
            let hint = if hint.is_empty() {
                format!("; {known}, and text stands in quotes")
            } else {
                hint
            };
            return fault(format!("there is no variable `{name}`{hint}"), Some(name));
        };
        match variable {
            Variable::Input => self.references.input = true,
            Variable::Previous => self.references.previous = true,
            Variable::Iteration => self.references.iteration = true,
            Variable::Run => self.references.run = true,
            // Which steps is known to whoever looks behind the dot.
            Variable::Steps => {}
        }
        Ok(variable)
    }

    /// Whether a tree is the variable `steps`, or `run`.
    fn is(&self, tree: &IdedExpr, variable: Variable) -> bool {
        matches!(&tree.expr, Expr::Ident(name)
            if name == variable.name() && !self.locals.contains(name))
    }

    fn step(&mut self, name: &str) -> Box<Node> {
        self.references.steps.insert(name.to_owned());
        if self.asking {
            self.references.asked_for.insert(name.to_owned());
        }
        Box::new(Node::Variable(Variable::Steps))
    }

    fn select(&mut self, select: &SelectExpr) -> Result<Node, Fault> {
        let (was, key) = (self.asking, select.field.as_str());
        self.asking |= select.test;
        let of = if self.is(&select.operand, Variable::Steps) {
            Ok(self.step(key))
        } else if self.is(&select.operand, Variable::Run) && key != "id" {
            fault(format!("`run` has no `{key}`, only `id`"), Some(key))
        } else {
            self.boxed(&select.operand)
        };
        self.asking = was;
        let (of, key) = (of?, key.into());
        Ok(if select.test { Node::Has { of, key } } else { Node::Select { of, key } })
    }

    fn map<'t>(&mut self, entries: impl Iterator<Item = &'t EntryExpr>) -> Result<Node, Fault> {
        let entries = entries.map(|entry| match entry {
            EntryExpr::MapEntry(entry) => Ok((self.node(&entry.key)?, self.node(&entry.value)?)),
            EntryExpr::StructField(field) => {
                fault(format!("the key `{}` stands in quotes", field.field), Some(&field.field))
            }
        });
        entries.collect::<Result<_, _>>().map(Node::Map)
    }

    fn call(&mut self, call: &CallExpr) -> Result<Node, Fault> {
        match (&call.target, call.args.as_slice()) {
            (None, [one]) => match call.func_name.as_str() {
                operators::LOGICAL_NOT => return self.boxed(one).map(Node::Not),
                operators::NEGATE => return self.boxed(one).map(Node::Negate),
                operators::NOT_STRICTLY_FALSE => return self.boxed(one).map(Node::NotFalse),
                _ => {}
            },
            (None, [left, right]) => {
                if let Some(node) = self.binary(&call.func_name, left, right)? {
                    return Ok(node);
                }
            }
            (None, [condition, then, otherwise]) if call.func_name == operators::CONDITIONAL => {
                let parts = [self.node(condition)?, self.node(then)?, self.node(otherwise)?];
                return Ok(Node::If(Box::new(parts)));
            }
            _ => {}
        }
        self.function(call)
    }

    fn binary(
        &mut self,
        name: &str,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Option<Node>, Fault> {
        let operator = match name {
            operators::LOGICAL_AND => {
                return Ok(Some(Node::And(self.boxed(left)?, self.boxed(right)?)));
            }
            operators::LOGICAL_OR => {
                return Ok(Some(Node::Or(self.boxed(left)?, self.boxed(right)?)));
            }
            operators::INDEX => return self.index(left, right).map(Some),
            operators::IN => {
                // `"NAME" in steps` is how has(steps.NAME) is written for a name with a dash.
                if let (Some(step), true) = (text(left), self.is(right, Variable::Steps)) {
                    let was = std::mem::replace(&mut self.asking, true);
                    let of = self.step(&step);
                    self.asking = was;
                    return Ok(Some(Node::Has { of, key: step.into() }));
                }
                Operator::In
            }
            operators::ADD => Operator::Add,
            operators::SUBSTRACT => Operator::Subtract,
            operators::MULTIPLY => Operator::Multiply,
            operators::DIVIDE => Operator::Divide,
            operators::MODULO => Operator::Remainder,
            operators::EQUALS => Operator::Equal,
            operators::NOT_EQUALS => Operator::NotEqual,
            operators::LESS => Operator::Less,
            operators::LESS_EQUALS => Operator::LessEqual,
            operators::GREATER => Operator::Greater,
            operators::GREATER_EQUALS => Operator::GreaterEqual,
            _ => return Ok(None),
        };
        let (left, right) = (self.boxed(left)?, self.boxed(right)?);
        Ok(Some(Node::Operator { operator, left, right }))
    }

    fn index(&mut self, of: &IdedExpr, at: &IdedExpr) -> Result<Node, Fault> {
        match text(at) {
            Some(step) if self.is(of, Variable::Steps) => {
                Ok(Node::Select { of: self.step(&step), key: step.into() })
            }
            _ => Ok(Node::Index { of: self.boxed(of)?, at: self.boxed(at)? }),
        }
    }

    fn function(&mut self, call: &CallExpr) -> Result<Node, Fault> {
        let name = call.func_name.as_str();
        let Some(function) = Function::find(name) else {
            let macros = MACROS.iter().find(|(known, _)| *known == name);
            let message = match macros {
                Some((_, written)) => format!("`{name}` is written {written}"),
                None => {
                    let known = Function::names().chain(MACROS.iter().map(|(name, _)| *name));
                    format!("there is no function `{name}`{}", meant(name, known))
                }
            };
            return fault(message, Some(name));
        };
        let trees: Vec<&IdedExpr> =
            call.target.iter().map(|target| &**target).chain(&call.args).collect();
        let style = match (&call.target, function.style) {
            (_, Style::Both) | (None, Style::Free) | (Some(_), Style::Method) => true,
            (Some(_), Style::Free) | (None, Style::Method) => false,
        };
        let (fewest, most) = function.arguments;
        if !style || !(fewest..=most).contains(&trees.len()) {
            return fault(format!("`{name}` is called {}", function.call), Some(name));
        }
        if let ("matches", Some(pattern)) = (name, trees.get(1).and_then(|tree| text(tree))) {
            functions::pattern(&pattern).or_else(|message| fault(message, Some(name)))?;
        }
        let arguments = trees.into_iter().map(|tree| self.node(tree)).collect::<Result<_, _>>()?;
        Ok(Node::Call { function, arguments })
    }

    fn fold(&mut self, fold: &ComprehensionExpr) -> Result<Node, Fault> {
        let (range, start) = (self.node(&fold.iter_range)?, self.node(&fold.accu_init)?);
        let (depth, taken) = (self.locals.len(), self.taken);
        self.locals.push(fold.accu_var.clone());
        self.locals.push(fold.iter_var.clone());
        self.locals.extend(fold.iter_var2.clone());
        let go_on = self.node(&fold.loop_cond)?;
        self.taken = Some(depth);
        let step = self.node(&fold.loop_step)?;
        self.taken = taken;
        self.locals.truncate(depth + 1);
        let result = self.node(&fold.result)?;
        self.locals.truncate(depth);
        let pairs = fold.iter_var2.is_some();
        Ok(Node::Fold(Box::new(Fold { range, start, go_on, step, result, pairs })))
    }
}

/// The text of a literal.
fn text(tree: &IdedExpr) -> Option<String> {
    match &tree.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned()),
        _ => None,
    }
}

fn literal(value: &LiteralValue) -> Result<Literal, Fault> {
    Ok(match value {
        LiteralValue::Null => Literal::Null,
        LiteralValue::Boolean(value) => Literal::Bool(*value.inner()),
        LiteralValue::Int(value) => Literal::Int(*value.inner()),
        LiteralValue::UInt(value) => Literal::Uint(*value.inner()),
        LiteralValue::Double(value) => Literal::Double(*value.inner()),
        LiteralValue::String(value) => Literal::Text(value.inner().into()),
        LiteralValue::Bytes(_) => return fault("there are no bytes here, only text", None),
    })
}
