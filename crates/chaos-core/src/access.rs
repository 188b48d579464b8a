//! Who may do what: roles, what each is allowed, and what is kept of a token.
//!
//! Owns the one table of permissions. It never sees a secret: a token is known by its hash.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a caller is (contract §4, "Roles").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads, and may engage the lever.
    Viewer,
    /// Runs what policy allows.
    Operator,
    /// Approves what others want to run.
    Approver,
    /// Everything, overrides and tokens among it.
    Admin,
    /// A node agent: it may connect and nothing else.
    Agent,
}

/// What a caller wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Look at experiments, runs, health, targets, the audit log.
    Read,
    /// Create, start and delete experiments.
    Run,
    /// Stop runs.
    Stop,
    /// Engage the safety lever: the one write that any known caller may do.
    EngageLever,
    /// Release the safety lever.
    ReleaseLever,
    /// Approve an experiment.
    Approve,
    /// Lift a named cap for one run.
    Override,
    /// Close an incident.
    CloseIncident,
    /// Make, rotate and revoke tokens.
    ManageTokens,
    /// Serve as a node.
    Connect,
}

impl Permission {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Run => "run",
            Self::Stop => "stop",
            Self::EngageLever => "engage_lever",
            Self::ReleaseLever => "release_lever",
            Self::Approve => "approve",
            Self::Override => "override",
            Self::CloseIncident => "close_incident",
            Self::ManageTokens => "manage_tokens",
            Self::Connect => "connect",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 5] = [Self::Viewer, Self::Operator, Self::Approver, Self::Admin, Self::Agent];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Admin => "admin",
            Self::Agent => "agent",
        }
    }

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// May it?
    pub fn may(self, permission: Permission) -> bool {
        use Permission::{
            Approve, CloseIncident, Connect, EngageLever, ManageTokens, Override, Read, ReleaseLever, Run,
            Stop,
        };
        match self {
            Self::Viewer => matches!(permission, Read | EngageLever),
            Self::Operator => {
                matches!(permission, Read | EngageLever | ReleaseLever | Run | Stop | CloseIncident)
            }
            Self::Approver => matches!(permission, Read | EngageLever | Approve | Stop),
            Self::Admin => {
                matches!(
                    permission,
                    Read | EngageLever
                        | ReleaseLever
                        | Run
                        | Stop
                        | Approve
                        | Override
                        | CloseIncident
                        | ManageTokens
                )
            }
            Self::Agent => permission == Connect,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A caller that is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// The name of its token, or of the user of this machine.
    pub name: String,
    /// What it is.
    pub role: Role,
}

impl Default for Actor {
    /// Nobody known; what journals from before there were roles have.
    fn default() -> Self {
        Self { name: "unknown".to_owned(), role: Role::Viewer }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.role)
    }
}

/// What is kept of a token; never the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenRecord {
    /// Short public id, the first part of the token.
    pub id: String,
    /// Whose it is; unique among tokens that are not revoked.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of the secret in lower-case hexadecimal digits.
    pub hash: String,
    /// When it was made.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// From when on it is not taken any more.
    #[schemars(with = "Option<String>")]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[schemars(with = "Option<String>")]
    pub revoked_at: Option<Timestamp>,
}

impl TokenRecord {
    /// Is it taken at that time?
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_caller_may_engage_the_lever_and_only_operators_release_it() {
        for role in [Role::Viewer, Role::Operator, Role::Approver, Role::Admin] {
            assert!(role.may(Permission::EngageLever) && role.may(Permission::Read), "{role}");
            let releases = matches!(role, Role::Operator | Role::Admin);
            assert_eq!(role.may(Permission::ReleaseLever), releases, "{role}");
            assert_eq!(role.may(Permission::Run), releases, "{role}");
        }
    }

    #[test]
    fn an_agent_may_connect_and_nothing_else_and_nobody_else_may() {
        assert!(!Role::Agent.may(Permission::Read) && !Role::Agent.may(Permission::EngageLever));
        for role in Role::ALL {
            assert_eq!(role.may(Permission::Connect), role == Role::Agent);
            assert_eq!(Role::parse(role.name()), Some(role));
        }
    }
}
