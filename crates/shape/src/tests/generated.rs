//! Expressions and values that are made up.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::expr::{Expr, Path, Relation, Scalar, StringTest};
use crate::number::Number;

/// Numbers at which something may go wrong, and some that are often equal.
pub(super) fn number() -> BoxedStrategy<Number> {
    prop_oneof![
        4 => (-2i64..4).prop_map(Number::Int),
        1 => (0u64..3).prop_map(Number::UInt),
        2 => (-4i8..8).prop_map(|halves| Number::Double(f64::from(halves) / 2.0)),
        1 => prop::sample::select(vec![
            Number::Int(i64::MIN), Number::Int(i64::MAX),
            Number::UInt(1 << 63), Number::UInt(u64::MAX),
            Number::Int(9_007_199_254_740_993), Number::Double(9_007_199_254_740_992.0),
            Number::Double(9_223_372_036_854_775_808.0), Number::Double(1e300),
            Number::Double(-0.0),
        ]),
    ]
    .boxed()
}

pub(super) fn string() -> BoxedStrategy<String> {
    prop_oneof![
        6 => prop::sample::select(vec![
            "", "a", "b", "ab", "abc", "U4", "é", "\"\\\n", "\u{2028}", "😀", "\0",
        ])
        .prop_map(str::to_owned),
        1 => "\\PC{0,3}",
    ]
    .boxed()
}

fn scalar() -> BoxedStrategy<Scalar> {
    prop_oneof![
        Just(Scalar::Null),
        any::<bool>().prop_map(Scalar::Bool),
        number().prop_map(Scalar::Number),
        string().prop_map(|string| Scalar::String(string.into())),
    ]
    .boxed()
}

/// Names, some of which need backticks or brackets.
pub(super) fn name() -> BoxedStrategy<Box<str>> {
    prop::sample::select(vec![
        "a", "b", "c", "in", "package", "a b", "x-y", "é", "`", "", "key", "size", "has",
    ])
    .prop_map(Into::into)
    .boxed()
}

pub(super) fn path() -> BoxedStrategy<Path> {
    let common = prop::sample::select(vec!["a", "b"]).prop_map(Into::into);
    prop::collection::vec(prop_oneof![6 => common, 1 => name()], 1..3).prop_map(Path::new).boxed()
}

fn leaf() -> BoxedStrategy<Expr> {
    prop_oneof![
        5 => path().prop_map(Expr::Path),
        4 => scalar().prop_map(Expr::Constant),
        1 => Just(Expr::Key),
        1 => path().prop_map(Expr::Has),
    ]
    .boxed()
}

/// Any expression that can be read: also those without a value.
pub(super) fn expr() -> BoxedStrategy<Expr> {
    leaf()
        .prop_recursive(4, 24, 4, |inner| {
            let two = (inner.clone(), inner.clone()).prop_map(Box::new);
            let truth = inner.clone().prop_map(truth);
            let relation = prop::sample::select(vec![
                Relation::Equal,
                Relation::NotEqual,
                Relation::Less,
                Relation::LessEqual,
                Relation::Greater,
                Relation::GreaterEqual,
            ]);
            let test = prop::sample::select(vec![
                StringTest::Contains,
                StringTest::EndsWith,
                StringTest::StartsWith,
            ]);
            let list = prop::collection::vec(prop_oneof![3 => leaf(), 1 => inner.clone()], 0..4);
            let constants = prop::collection::vec(scalar().prop_map(Expr::Constant), 0..4);
            let choice = (path().prop_map(Expr::Path), constants);
            prop_oneof![
                4 => (relation, two.clone())
                    .prop_map(|(relation, two)| Expr::Compare(relation, two)),
                1 => two.clone().prop_map(Expr::In),
                2 => choice.prop_map(|(of, list)| Expr::In(Box::new((of, Expr::List(list))))),
                1 => (test, two).prop_map(|(test, two)| Expr::Test(test, two)),
                1 => inner.prop_map(|of| Expr::Size(Box::new(of))),
                2 => truth.clone().prop_map(|of| Expr::Not(Box::new(of))),
                3 => prop::collection::vec(truth.clone(), 2..4).prop_map(Expr::And),
                3 => prop::collection::vec(truth, 2..4).prop_map(Expr::Or),
                1 => list.prop_map(Expr::List),
            ]
        })
        .boxed()
}

/// The expression where only a truth value may stand.
pub(super) fn truth(expr: Expr) -> Expr {
    use crate::expr::Kind;
    match expr.kind() {
        Kind::Any | Kind::Bool => expr,
        _ => Expr::Compare(
            Relation::Equal,
            Box::new((Expr::Path(Path::new(vec!["a".into()])), expr)),
        ),
    }
}

pub(super) fn condition() -> BoxedStrategy<Expr> {
    expr().prop_map(truth).boxed()
}

/// Any value of JSON, of the kinds that conditions above speak of.
pub(super) fn value() -> BoxedStrategy<Json> {
    let number = number().prop_map(|number| match number {
        Number::Int(int) => json!(int),
        Number::UInt(int) => json!(int),
        Number::Double(double) => json!(double),
    });
    let leaf = prop_oneof![
        1 => Just(Json::Null),
        2 => any::<bool>().prop_map(Json::Bool),
        4 => number,
        4 => string().prop_map(Json::String),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array);
        prop_oneof![list, object(inner)]
    })
    .boxed()
}

fn object(value: BoxedStrategy<Json>) -> BoxedStrategy<Json> {
    let common = prop::sample::select(vec!["a", "b"]).prop_map(Into::into);
    let name = prop_oneof![5 => common, 1 => name()];
    prop::collection::vec((name, value), 0..4)
        .prop_map(|members: Vec<(Box<str>, Json)>| {
            Json::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
        })
        .boxed()
}

/// A member of a collection: mostly an object.
pub(super) fn resource() -> BoxedStrategy<Json> {
    prop_oneof![8 => object(value()), 1 => value()].boxed()
}
