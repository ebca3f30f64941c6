//! Conditions from text: the grammar of CEL, as far as it is supported.

use crate::bounds::Bounds;
use crate::error::{ShapeError, ShapeErrorKind};
use crate::expr::{Expr, Kind, Path, Relation, Scalar, StringTest};
use crate::names::is_reserved;
use crate::number::Number;
use crate::scan::{Scanner, Token};
use crate::things::Things;

const FUNCTIONS: &str = "has(a.b), size(a), key(), a.size(), a.startsWith(b), a.endsWith(b) or \
                         a.contains(b)";
const OPERAND: &str = "a name, a value, `!` or `(`";

/// Reads an expression of any kind. With things, the first name of each path is one of them.
pub(crate) fn parse(
    text: &str,
    bounds: &Bounds,
    things: Option<Things<'_>>,
) -> Result<Expr, ShapeError> {
    if text.len() > bounds.text_bytes {
        return Err(ShapeError::at(text, 0, ShapeErrorKind::TooLong(bounds.text_bytes)));
    }
    let mut scanner = Scanner::new(text);
    let (at, token) = scanner.next()?;
    let mut parser = Parser {
        scanner,
        at,
        token,
        depth: 0,
        indexed: false,
        nodes: 0,
        elements: 0,
        bounds,
        things,
        whole: Vec::new(),
    };
    let expr = parser.or()?;
    if parser.token != Token::End {
        return Err(parser.expected_operator());
    }
    if let Some(at) = parser.whole.first() {
        return Err(parser.unsupported(*at, Things::NOT_WHOLE));
    }
    if parser.nodes > bounds.nodes {
        return Err(parser.error(parser.at, ShapeErrorKind::TooManyNodes(bounds.nodes)));
    }
    if expr.height() > bounds.depth {
        return Err(ShapeError::at(text, 0, ShapeErrorKind::TooDeep(bounds.depth)));
    }
    Ok(expr)
}

/// Reads a condition: an expression that may be true.
pub(crate) fn parse_condition(
    text: &str,
    bounds: &Bounds,
    things: Option<Things<'_>>,
) -> Result<Expr, ShapeError> {
    let expr = parse(text, bounds, things)?;
    let start = text.len() - text.trim_start().len();
    must_be_bool(text, start, &expr).map(|()| expr)
}

fn must_be_bool(text: &str, at: usize, expr: &Expr) -> Result<(), ShapeError> {
    let found = match expr.kind() {
        Kind::Any | Kind::Bool => return Ok(()),
        Kind::Null => "null",
        Kind::Number => "a number",
        Kind::String => "a string",
        Kind::List => "a list",
    };
    let expected = "a condition: a comparison, or something else that is true or false".to_owned();
    let kind = ShapeErrorKind::Expected { expected, found: found.to_owned() };
    Err(ShapeError::at(text, at, kind))
}

struct Parser<'t, 'b> {
    scanner: Scanner<'t>,
    /// The next token, and where it begins.
    at: usize,
    token: Token<'t>,
    /// Brackets that are open.
    depth: usize,
    /// True if the member that was read last is named in brackets.
    indexed: bool,
    nodes: usize,
    elements: usize,
    bounds: &'b Bounds,
    things: Option<Things<'b>>,
    /// Places of things that must not stand alone, and do so far.
    whole: Vec<usize>,
}

impl<'t> Parser<'t, '_> {
    fn advance(&mut self) -> Result<(), ShapeError> {
        (self.at, self.token) = self.scanner.next()?;
        Ok(())
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.token, Token::Sign(next) if next == sign)
    }

    /// Goes on if the next token is this sign.
    fn take(&mut self, sign: &str) -> Result<bool, ShapeError> {
        let found = self.is(sign);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn need(&mut self, sign: &str) -> Result<(), ShapeError> {
        match self.take(sign)? {
            true => Ok(()),
            false if sign == ")" => Err(self.expected("`)` or an operator")),
            false => Err(self.expected(&format!("`{sign}`"))),
        }
    }

    fn open(&mut self, sign: &str) -> Result<(), ShapeError> {
        if self.depth == self.bounds.depth {
            return Err(self.error(self.at, ShapeErrorKind::TooDeep(self.bounds.depth)));
        }
        self.depth += 1;
        self.need(sign)
    }

    fn close(&mut self, sign: &str) -> Result<(), ShapeError> {
        self.depth -= 1;
        self.need(sign)
    }

    fn count_node(&mut self, at: usize) -> Result<(), ShapeError> {
        self.nodes += 1;
        match self.nodes > self.bounds.nodes {
            true => Err(self.error(at, ShapeErrorKind::TooManyNodes(self.bounds.nodes))),
            false => Ok(()),
        }
    }

    fn or(&mut self) -> Result<Expr, ShapeError> {
        self.operands("||", Parser::and, Expr::Or)
    }

    fn and(&mut self) -> Result<Expr, ShapeError> {
        self.operands("&&", Parser::relation, Expr::And)
    }

    fn operands(
        &mut self,
        sign: &str,
        operand: fn(&mut Self) -> Result<Expr, ShapeError>,
        joined: fn(Vec<Expr>) -> Expr,
    ) -> Result<Expr, ShapeError> {
        let start = self.at;
        let first = operand(self)?;
        if !self.is(sign) {
            return Ok(first);
        }
        self.count_node(self.at)?;
        must_be_bool(self.scanner.text, start, &first)?;
        let mut parts = vec![first];
        while self.take(sign)? {
            let start = self.at;
            let part = operand(self)?;
            must_be_bool(self.scanner.text, start, &part)?;
            parts.push(part);
        }
        Ok(joined(parts))
    }

    fn relation(&mut self) -> Result<Expr, ShapeError> {
        let mut left = self.unary()?;
        let mut links = 0;
        loop {
            let relation = match self.token {
                Token::Sign("==") => Some(Relation::Equal),
                Token::Sign("!=") => Some(Relation::NotEqual),
                Token::Sign("<") => Some(Relation::Less),
                Token::Sign("<=") => Some(Relation::LessEqual),
                Token::Sign(">") => Some(Relation::Greater),
                Token::Sign(">=") => Some(Relation::GreaterEqual),
                Token::Word("in") => None,
                _ => return Ok(left),
            };
            self.count_node(self.at)?;
            links += 1;
            if links > self.bounds.depth {
                return Err(self.error(self.at, ShapeErrorKind::TooDeep(self.bounds.depth)));
            }
            self.advance()?;
            let two = Box::new((left, self.unary()?));
            left = match relation {
                Some(relation) => self.compared(relation, two),
                None => Expr::In(two),
            };
        }
    }

    /// A comparison. That of a thing with `null` asks whether it is there.
    fn compared(&mut self, relation: Relation, two: Box<(Expr, Expr)>) -> Expr {
        if let (Expr::Path(path), Expr::Constant(Scalar::Null))
        | (Expr::Constant(Scalar::Null), Expr::Path(path)) = &*two
            && self.must_not_stand_alone(path)
        {
            let has = Expr::Has(path.clone());
            let is_there = match relation {
                Relation::Equal => Some(Expr::Not(Box::new(has))),
                Relation::NotEqual => Some(has),
                _ => None,
            };
            if let Some(is_there) = is_there {
                self.whole.pop();
                return is_there;
            }
        }
        Expr::Compare(relation, two)
    }

    fn must_not_stand_alone(&self, path: &Path) -> bool {
        let by_member = |things: Things<'_>| things.by_member.contains(&&*path.names()[0]);
        path.names().len() == 1 && self.things.is_some_and(by_member)
    }

    /// A path that begins with this name.
    fn first(&mut self, name: Box<str>, at: usize) -> Result<Expr, ShapeError> {
        if let Some(things) = self.things {
            things.check(&name).map_err(|why| self.unsupported(at, &why))?;
        }
        let path = Path::new(vec![name]);
        if self.must_not_stand_alone(&path) {
            self.whole.push(at);
        }
        Ok(Expr::Path(path))
    }

    fn unary(&mut self) -> Result<Expr, ShapeError> {
        let mut nots = 0;
        while self.is("!") {
            self.count_node(self.at)?;
            nots += 1;
            if nots > self.bounds.depth {
                return Err(self.error(self.at, ShapeErrorKind::TooDeep(self.bounds.depth)));
            }
            self.advance()?;
        }
        let start = self.at;
        let operand = self.member()?;
        if nots > 0 {
            must_be_bool(self.scanner.text, start, &operand)?;
        }
        Ok((0..nots).fold(operand, |operand, _| Expr::Not(Box::new(operand))))
    }

    fn member(&mut self) -> Result<Expr, ShapeError> {
        self.indexed = false;
        let mut expr = self.primary()?;
        loop {
            let start = self.at;
            if self.take(".")? {
                expr = self.selected(expr, start)?;
                self.indexed = false;
            } else if self.is("[") {
                let Expr::Path(path) = expr else {
                    return Err(
                        self.unsupported(start, "only members can be read: no elements of lists")
                    );
                };
                self.open("[")?;
                let Token::String(name) = &self.token else {
                    let what = "the name of a member in quotes; elements of lists cannot be read";
                    return Err(self.expected(what));
                };
                let name = name.clone();
                expr = Expr::Path(self.child(path, name, start)?);
                self.advance()?;
                self.close("]")?;
                self.indexed = true;
            } else {
                return Ok(expr);
            }
        }
    }

    /// A member's name behind a point, or a function of what stands before the point.
    fn selected(&mut self, of: Expr, start: usize) -> Result<Expr, ShapeError> {
        let name: Box<str> = match &self.token {
            Token::Quoted(name) => name.clone(),
            Token::Word(word) if !matches!(*word, "true" | "false" | "null" | "in") => {
                (*word).into()
            }
            _ => return Err(self.expected("a name")),
        };
        let (at, is_word) = (self.at, matches!(self.token, Token::Word(_)));
        self.advance()?;
        if is_word && self.is("(") {
            return self.method(of, &name, at);
        }
        match of {
            Expr::Path(path) => self.child(path, name, start).map(Expr::Path),
            _ => Err(self.unsupported(start, "only members of the resource have members")),
        }
    }

    fn child(&mut self, path: Path, name: Box<str>, at: usize) -> Result<Path, ShapeError> {
        if self.must_not_stand_alone(&path) {
            self.whole.pop();
        }
        match path.names().len() < self.bounds.depth {
            true => Ok(path.child(name)),
            false => Err(self.error(at, ShapeErrorKind::TooDeep(self.bounds.depth))),
        }
    }

    fn method(&mut self, of: Expr, name: &str, at: usize) -> Result<Expr, ShapeError> {
        let test = match name {
            "startsWith" => StringTest::StartsWith,
            "endsWith" => StringTest::EndsWith,
            "contains" => StringTest::Contains,
            "size" => {
                self.count_node(at)?;
                self.open("(")?;
                self.close(")")?;
                return Ok(Expr::Size(Box::new(of)));
            }
            _ => return Err(self.no_function(at, name)),
        };
        self.count_node(at)?;
        self.open("(")?;
        let argument = self.or()?;
        self.close(")")?;
        Ok(Expr::Test(test, Box::new((of, argument))))
    }

    fn primary(&mut self) -> Result<Expr, ShapeError> {
        let at = self.at;
        let constant = match &self.token {
            Token::Sign("(") => {
                self.open("(")?;
                let expr = self.or()?;
                self.close(")")?;
                return Ok(expr);
            }
            Token::Sign("[") => return self.list(),
            Token::Sign("-") => {
                self.advance()?;
                Scalar::Number(match self.token {
                    Token::Number(Number::Int(int)) => Number::Int(-int),
                    Token::Number(Number::Double(double)) => Number::Double(-double),
                    Token::OnlyNegative => Number::Int(i64::MIN),
                    _ => return Err(self.expected("a number; there is no arithmetic here")),
                })
            }
            Token::OnlyNegative => {
                let what = "the integer is out of range: write it with `u` or `.0`";
                return Err(self.error(at, ShapeErrorKind::Literal(what.to_owned())));
            }
            Token::Number(number) => Scalar::Number(*number),
            Token::String(string) => Scalar::String(string.clone()),
            Token::Word("true") => Scalar::Bool(true),
            Token::Word("false") => Scalar::Bool(false),
            Token::Word("null") => Scalar::Null,
            Token::Word(word) if *word != "in" => {
                let word = *word;
                self.advance()?;
                return self.word(word, at);
            }
            Token::Quoted(name) => {
                let name = name.clone();
                self.count_node(at)?;
                self.advance()?;
                return self.first(name, at);
            }
            _ => return Err(self.expected(OPERAND)),
        };
        // Counted here, refused where more comes: as elements of a list they do not count.
        self.nodes += 1;
        self.advance()?;
        Ok(Expr::Constant(constant))
    }

    /// A name, or a function.
    fn word(&mut self, word: &'t str, at: usize) -> Result<Expr, ShapeError> {
        self.count_node(at)?;
        let is_before_condition = match self.token {
            Token::Word(next) => next != "in",
            Token::Quoted(_) => true,
            _ => self.is("(") || self.is("!"),
        };
        if matches!(word, "not" | "NOT") && is_before_condition {
            return Err(self.unsupported(at, &format!("there is no `{word}` here: write `!`")));
        }
        if !self.is("(") {
            if is_reserved(word) {
                let what =
                    format!("`{word}` is a reserved word of CEL: write the name in backticks");
                return Err(self.unsupported(at, &what));
            }
            return self.first(word.into(), at);
        }
        match word {
            "key" if self.things.is_some() => {
                let what = "there is no `key()` here: a variable of the pattern is the name";
                Err(self.unsupported(at, what))
            }
            "key" => {
                self.open("(")?;
                self.close(")")?;
                Ok(Expr::Key)
            }
            "size" => {
                self.open("(")?;
                let of = self.or()?;
                self.close(")")?;
                Ok(Expr::Size(Box::new(of)))
            }
            "has" => {
                self.open("(")?;
                let start = self.at;
                let of = self.or()?;
                let Expr::Path(path) = of else {
                    return Err(self.unsupported(start, "`has` asks for a member: `has(a.b)`"));
                };
                if self.things.is_some() && path.names().len() == 1 {
                    let what = format!("`has` asks for a member of `{path}`: `has({path}.a)`");
                    return Err(self.unsupported(start, &what));
                }
                if self.indexed {
                    let what = format!("`has` takes no brackets: write `has({path})`");
                    return Err(self.unsupported(start, &what));
                }
                self.close(")")?;
                Ok(Expr::Has(path))
            }
            "startsWith" | "endsWith" | "contains" => {
                let what = format!("`{word}` comes behind a string: `name.{word}(\"a\")`");
                Err(self.unsupported(at, &what))
            }
            _ => Err(self.no_function(at, word)),
        }
    }

    fn list(&mut self) -> Result<Expr, ShapeError> {
        self.count_node(self.at)?;
        self.open("[")?;
        let mut elements = Vec::new();
        while !self.is("]") {
            let (start, nodes) = (self.at, self.nodes);
            let element = self.or()?;
            if matches!(element, Expr::Constant(_)) {
                self.nodes = nodes;
            }
            self.elements += 1;
            if self.elements > self.bounds.elements {
                let kind = ShapeErrorKind::TooManyElements(self.bounds.elements);
                return Err(self.error(start, kind));
            }
            elements.push(element);
            if !self.is("]") && !self.take(",")? {
                return Err(self.expected("`,`, `]` or an operator"));
            }
        }
        self.close("]")?;
        Ok(Expr::List(elements))
    }

    fn error(&self, at: usize, kind: ShapeErrorKind) -> ShapeError {
        ShapeError::at(self.scanner.text, at, kind)
    }

    fn unsupported(&self, at: usize, what: &str) -> ShapeError {
        self.error(at, ShapeErrorKind::Unsupported(what.to_owned()))
    }

    fn no_function(&self, at: usize, name: &str) -> ShapeError {
        self.unsupported(at, &format!("there is no function `{name}` here; there are {FUNCTIONS}"))
    }

    fn expected(&self, what: &str) -> ShapeError {
        let found = match &self.token {
            Token::End => "the end".to_owned(),
            Token::Word(word) => format!("`{word}`"),
            Token::Quoted(name) => format!("`{name}`"),
            Token::String(_) => "a string".to_owned(),
            Token::Number(_) | Token::OnlyNegative => "a number".to_owned(),
            Token::Sign(sign) => format!("`{sign}`"),
        };
        self.error(self.at, ShapeErrorKind::Expected { expected: what.to_owned(), found })
    }

    fn expected_operator(&self) -> ShapeError {
        self.expected(match self.token {
            Token::Word("and" | "AND") => "`&&` (in a URL, `%26%26`)",
            Token::Word("or" | "OR") => "`||`",
            Token::Sign("-") => {
                "an operator; there is no arithmetic, and a name with a `-` goes in backticks"
            }
            _ => "`&&`, `||`, a comparison, `in` or the end",
        })
    }
}
