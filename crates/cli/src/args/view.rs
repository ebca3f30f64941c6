//! Options of views.

use clap::{Args as Group, ValueEnum};

/// The part of a resource that is shown.
#[derive(Debug, Group)]
pub(crate) struct View {
    /// Show only members for which this is true, such as 'speed > 50 && line == "U4"'
    ///
    /// The language is a subset of CEL: && || !, comparisons, `in`, lists, `driver.name`,
    /// has(driver), key() for the member's own name, and for text startsWith, endsWith, contains
    /// and size. A member that does not have what the condition asks for is not shown:
    ///
    ///   halfping get localhost:7070/vehicles --where 'status in ["moving", "late"]'
    #[arg(long = "where", value_name = "CONDITION", verbatim_doc_comment)]
    pub(crate) condition: Option<String>,

    /// Show only these members of each member, such as 'line,driver(name)'
    ///
    /// A member that is no object is shown as it is, and a resource that is none as {}. With
    /// slashes, as in '/lat,/driver/name', they are members of the resource itself:
    ///
    ///   halfping watch localhost:7070/vehicles --select position
    ///   halfping get localhost:7070/vehicles/bus-017 --select /position,/status
    #[arg(long, value_name = "NAMES", verbatim_doc_comment)]
    pub(crate) select: Option<String>,

    /// Put members in this order, such as '-speed,line', for --limit or --as list
    ///
    /// `-` is for descending. What is equal comes by name.
    #[arg(long, value_name = "NAMES", allow_hyphen_values = true)]
    pub(crate) order: Option<String>,

    /// Show only the first N members in order; without an order, by name
    #[arg(long, value_name = "N", value_parser = members)]
    pub(crate) limit: Option<usize>,

    /// Show the number of members instead of the members
    #[arg(long)]
    pub(crate) count: bool,

    /// Show `list`, an array of names and members in order, instead of an object
    #[arg(long = "as", value_name = "FORM")]
    pub(crate) form: Option<Form>,

    /// Say first how many members have each name that --where, --select and --order read
    ///
    /// A misspelt name is no error: members do not have it. This tells on stderr. It reads the
    /// whole collection once. Of a view that the server's configuration names it cannot tell.
    #[arg(long)]
    pub(crate) explain: bool,
}

/// A number of members. The server knows how many may be asked for.
fn members(text: &str) -> Result<usize, &'static str> {
    text.parse().map_err(|_| "expected a number of members, such as 20")
}

/// The form of a collection other than an object.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Form {
    List,
}
