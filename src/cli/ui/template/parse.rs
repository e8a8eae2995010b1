//! Tokens to a tree.

use serde_json::{Number, Value};

use super::TemplateError;
use super::functions;
use super::lex::{self, Piece, Token};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    /// `if` and every `else if`, then `else`.
    If {
        arms: Vec<(Pipeline, Vec<Node>)>,
        otherwise: Vec<Node>,
    },
    Range {
        /// `range $index, $value := …`
        index: Option<String>,
        value: Option<String>,
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        pipeline: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// `$x := a | b`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    pub assign: Option<String>,
    /// The value of each is the last argument of the next.
    pub commands: Vec<Vec<Term>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Term {
    pub base: Base,
    /// `.A.B` behind it.
    pub fields: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Function(String),
    Group(Pipeline),
}

/// Parentheses and blocks in each other; more is a mistake.
const DEEPEST: usize = 64;

pub(super) fn template(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut pieces = lex::pieces(text)?.into_iter();
    let (nodes, end) = block(&mut pieces, 0)?;
    match end {
        End::Text => Ok(nodes),
        End::Block => Err(TemplateError::new("`{{end}}` without a beginning")),
        End::Else(_) => Err(TemplateError::new("`{{else}}` without `if`, `with` or `range`")),
    }
}

/// The fields of the object itself that a template asks for.
pub(super) fn fields(nodes: &[Node]) -> Vec<String> {
    let mut found = Vec::new();
    collect(nodes, true, &mut found);
    found
}

/// How a block ended.
enum End {
    Text,
    Block,
    /// With what follows: `else if …`.
    Else(Vec<Token>),
}

fn block(pieces: &mut std::vec::IntoIter<Piece>, depth: usize) -> Result<(Vec<Node>, End), TemplateError> {
    if depth > DEEPEST {
        return Err(TemplateError::new("blocks are nested too deep"));
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        let keyword = match tokens.first() {
            Some(Token::Word(word)) => word.as_str(),
            _ => "",
        };
        match keyword {
            "end" if tokens.len() == 1 => return Ok((nodes, End::Block)),
            "else" => return Ok((nodes, End::Else(tokens[1..].to_vec()))),
            "if" => nodes.push(condition(&tokens[1..], pieces, depth)?),
            "range" => {
                let (index, value, rest) = loop_variables(&tokens[1..]);
                let over = pipeline(rest)?;
                let (body, otherwise) = body_and_else(pieces, depth)?;
                nodes.push(Node::Range { index, value, over, body, otherwise });
            }
            "with" => {
                let pipeline = pipeline(&tokens[1..])?;
                let (body, otherwise) = body_and_else(pieces, depth)?;
                nodes.push(Node::With { pipeline, body, otherwise });
            }
            "template" | "block" | "define" | "break" | "continue" => {
                return Err(TemplateError::new(format!("`{keyword}` is not supported")));
            }
            _ => nodes.push(Node::Print(pipeline(&tokens)?)),
        }
    }
    Ok((nodes, End::Text))
}

fn condition(tokens: &[Token], pieces: &mut std::vec::IntoIter<Piece>, depth: usize) -> Result<Node, TemplateError> {
    let mut arms = Vec::new();
    let mut test = pipeline(tokens)?;
    loop {
        let (body, end) = block(pieces, depth + 1)?;
        arms.push((test, body));
        match end {
            End::Block => return Ok(Node::If { arms, otherwise: Vec::new() }),
            End::Text => return Err(unfinished()),
            End::Else(rest) => match &rest[..] {
                [Token::Blank, Token::Word(word), rest @ ..] if word == "if" => test = pipeline(rest)?,
                [] => {
                    let (otherwise, end) = block(pieces, depth + 1)?;
                    return match end {
                        End::Block => Ok(Node::If { arms, otherwise }),
                        _ => Err(unfinished()),
                    };
                }
                _ => return Err(TemplateError::new("`else` is followed by `if` or by nothing")),
            },
        }
    }
}

fn body_and_else(
    pieces: &mut std::vec::IntoIter<Piece>,
    depth: usize,
) -> Result<(Vec<Node>, Vec<Node>), TemplateError> {
    let (body, end) = block(pieces, depth + 1)?;
    match end {
        End::Block => Ok((body, Vec::new())),
        End::Else(rest) if rest.is_empty() => match block(pieces, depth + 1)? {
            (otherwise, End::Block) => Ok((body, otherwise)),
            _ => Err(unfinished()),
        },
        _ => Err(unfinished()),
    }
}

fn unfinished() -> TemplateError {
    TemplateError::new("`if`, `with` or `range` has no `{{end}}`")
}

/// `$x := ` and `$i, $x := ` before what is gone through.
fn loop_variables(tokens: &[Token]) -> (Option<String>, Option<String>, &[Token]) {
    let solid: Vec<(usize, &Token)> = tokens.iter().enumerate().filter(|(_, token)| **token != Token::Blank).collect();
    match &solid[..] {
        [(_, Token::Variable(i)), (_, Token::Sign(",")), (_, Token::Variable(x)), (end, Token::Sign(":=")), ..] => {
            (Some(i.clone()), Some(x.clone()), &tokens[end + 1..])
        }
        [(_, Token::Variable(x)), (end, Token::Sign(":=")), ..] => (None, Some(x.clone()), &tokens[end + 1..]),
        _ => (None, None, tokens),
    }
}

fn pipeline(tokens: &[Token]) -> Result<Pipeline, TemplateError> {
    let mut parser = Parser { tokens, depth: 0 };
    let pipeline = parser.pipeline()?;
    if parser.tokens.is_empty() { Ok(pipeline) } else { Err(TemplateError::new("`)` without `(`")) }
}

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first.clone())
    }

    fn skip_blanks(&mut self) {
        while self.tokens.first() == Some(&Token::Blank) {
            self.next();
        }
    }

    /// Up to the end or a closing parenthesis.
    fn pipeline(&mut self) -> Result<Pipeline, TemplateError> {
        let assign = self.assignment();
        let mut commands = Vec::new();
        loop {
            let command = self.command()?;
            if command.is_empty() {
                return Err(TemplateError::new("an action says nothing: `{{}}`, `()` or `|` with nothing beside it"));
            }
            commands.push(command);
            if self.tokens.first() != Some(&Token::Sign("|")) {
                return Ok(Pipeline { assign, commands });
            }
            self.next();
        }
    }

    fn assignment(&mut self) -> Option<String> {
        self.skip_blanks();
        let [Token::Variable(name), rest @ ..] = self.tokens else { return None };
        let rest = if let [Token::Blank, rest @ ..] = rest { rest } else { rest };
        let [Token::Sign(":=" | "="), rest @ ..] = rest else { return None };
        self.tokens = rest;
        Some(name.clone())
    }

    fn command(&mut self) -> Result<Vec<Term>, TemplateError> {
        let mut terms = Vec::new();
        loop {
            self.skip_blanks();
            match self.tokens.first() {
                None | Some(Token::Sign("|" | ")")) => return Ok(terms),
                Some(_) => terms.push(self.term()?),
            }
        }
    }

    fn term(&mut self) -> Result<Term, TemplateError> {
        let mut fields = Vec::new();
        let base = match self.next() {
            Some(Token::Dot) => Base::Dot,
            Some(Token::Field(name)) => {
                fields.push(name);
                Base::Dot
            }
            Some(Token::Variable(name)) => Base::Variable(name),
            Some(Token::Text(text)) => Base::Literal(text.into()),
            Some(Token::Number(number)) => Base::Literal(Number::into(number)),
            Some(Token::Word(word)) => match word.as_str() {
                "true" => Base::Literal(true.into()),
                "false" => Base::Literal(false.into()),
                "nil" => Base::Literal(Value::Null),
                _ if functions::exists(&word) => Base::Function(word),
                _ => {
                    let known = functions::NAMES.join(", ");
                    return Err(TemplateError::new(format!("function `{word}` is not known; there are {known}")));
                }
            },
            Some(Token::Sign("(")) => {
                self.depth += 1;
                if self.depth > DEEPEST {
                    return Err(TemplateError::new("parentheses are nested too deep"));
                }
                let inner = self.pipeline()?;
                self.depth -= 1;
                if self.next() != Some(Token::Sign(")")) {
                    return Err(TemplateError::new("`(` without `)`"));
                }
                Base::Group(inner)
            }
            Some(Token::Sign(sign)) => return Err(TemplateError::new(format!("`{sign}` is out of place"))),
            Some(Token::Blank) | None => return Err(TemplateError::new("an operand is missing")),
        };
        while let Some(Token::Field(name)) = self.tokens.first() {
            fields.push(name.clone());
            self.next();
        }
        Ok(Term { base, fields })
    }
}

fn collect(nodes: &[Node], root: bool, found: &mut Vec<String>) {
    for node in nodes {
        match node {
            Node::Text(_) => {}
            Node::Print(pipeline) => in_pipeline(pipeline, root, found),
            Node::If { arms, otherwise } => {
                for (test, body) in arms {
                    in_pipeline(test, root, found);
                    collect(body, root, found);
                }
                collect(otherwise, root, found);
            }
            // Inside, the dot is something else.
            Node::Range { over: pipeline, body, otherwise, .. } | Node::With { pipeline, body, otherwise } => {
                in_pipeline(pipeline, root, found);
                collect(body, false, found);
                collect(otherwise, root, found);
            }
        }
    }
}

fn in_pipeline(pipeline: &Pipeline, root: bool, found: &mut Vec<String>) {
    for command in &pipeline.commands {
        let is_call = command.len() > 1;
        for (index, term) in command.iter().enumerate() {
            let of_root = match &term.base {
                Base::Dot => root,
                Base::Variable(name) => name.is_empty(),
                Base::Group(inner) => {
                    in_pipeline(inner, root, found);
                    false
                }
                Base::Literal(_) | Base::Function(_) => false,
            };
            let is_label = index == 0 && is_call && term.fields == ["Label"];
            if let Some(field) = term.fields.first().filter(|_| of_root && !is_label) {
                found.push(field.clone());
            }
        }
    }
}
