//! `chaos token`: who may call a server.

use chaos_api::{NewToken, TokenInfo, TokenRequest};
use chaos_core::access::Role;
use chaos_core::duration::Span;
use clap::{Args, Subcommand};

use crate::config::Settings;
use crate::connect::Connection;
use crate::exit::Failure;
use crate::output::{self, Output, or_dash};

/// What the help says of it.
pub(crate) const LONG: &str = "\
Makes, lists, rotates and revokes the tokens of a server. A token has a name and a role: viewer (reads, may engage \
the lever), operator (runs what policy allows), approver (approves), admin (everything), agent (serves as a node, \
nothing else). The token itself is printed once, when it is made; the server keeps a hash of it.";

const EXAMPLES: &str = "\
EXAMPLES:
  chaos token create --name ci --role operator --valid-for 90d
  chaos token create --name node-1 --role agent > node-1.token
  chaos token list
  chaos token rotate 4f1c09a2
  chaos token revoke 4f1c09a2";

/// Options of the verb.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a token and print it, once
    Create(CreateArgs),
    /// List tokens, never their secrets
    List,
    /// Replace a token by a new one of the same name and role
    Rotate(IdArgs),
    /// Take a token back, at once and for ever
    Revoke(IdArgs),
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Whose it is; recorded with everything that is done with it
    #[arg(long, value_name = "NAME")]
    name: String,
    /// viewer, operator, approver, admin or agent
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Role,
    /// How long it is good for, e.g. 90d [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = super::run::span)]
    valid_for: Option<Span>,
}

#[derive(Debug, Args)]
struct IdArgs {
    /// Its id, as `chaos token list` shows it
    #[arg(value_name = "ID")]
    id: String,
}

fn role(text: &str) -> Result<Role, String> {
    let names = Role::ALL.map(Role::name).join(", ");
    Role::parse(text).ok_or_else(|| format!("no role has that name; expected one of {names}"))
}

/// Does it.
pub(crate) async fn run(args: &TokenArgs, settings: &Settings, out: &Output) -> Result<u8, Failure> {
    let connection = Connection::open(settings, false, out).await?;
    let client = &connection.client;
    let outcome = match &args.what {
        What::Create(wanted) => {
            let end = wanted.valid_for.map(|span| jiff::Timestamp::now().checked_add(span.0)).transpose();
            let expires_at = end.map_err(|error| Failure::usage(format!("--valid-for: {error}")))?;
            let request = TokenRequest { name: wanted.name.clone(), role: wanted.role, expires_at };
            client.create_token(&request).await.map_err(Failure::from).and_then(|token| made(&token, out))
        }
        What::Rotate(which) => {
            client.rotate_token(&which.id).await.map_err(Failure::from).and_then(|token| made(&token, out))
        }
        What::Revoke(which) => {
            client.revoke_token(&which.id).await.map_err(Failure::from).and_then(|token| {
                out.record(&token, || format!("token {} of {} is revoked", token.id, token.name))
            })
        }
        What::List => client
            .tokens()
            .await
            .map_err(Failure::from)
            .and_then(|tokens| out.list(&tokens, || table(&tokens))),
    };
    connection.finish(out).await;
    outcome.map(|()| 0)
}

/// The token goes to standard output alone, so that it can be put into a file.
fn made(token: &NewToken, out: &Output) -> Result<(), Failure> {
    let info = &token.info;
    out.note(&format!("token {} of {} ({}); it is shown only now", info.id, info.name, info.role));
    out.record(token, || token.token.clone())
}

fn table(tokens: &[TokenInfo]) -> String {
    let rows = tokens.iter().map(|token| {
        let standing = match (token.valid, token.revoked_at) {
            (true, _) => "valid",
            (false, Some(_)) => "revoked",
            (false, None) => "expired",
        };
        vec![
            token.id.clone(),
            token.name.clone(),
            token.role.to_string(),
            standing.to_owned(),
            format!("{:.0}", token.created_at),
            token.created_by.clone(),
            or_dash(token.expires_at.map(|at| format!("{at:.0}"))),
        ]
    });
    output::table(&["ID", "NAME", "ROLE", "STANDING", "CREATED", "BY", "EXPIRES"], rows)
}
