//! Incidents, the latest first.

use chaos_core::incident::{Incident, IncidentStatus};
use chaos_core::port::StoreError;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use crate::SqlStore;
use crate::dialect::plain;
use crate::read::{column, parse, rows_limit};
use crate::write::{Answer, Done, Work, text};

pub(crate) const INCIDENT: &str = "SELECT incident FROM incidents WHERE id = $1";
pub(crate) const INCIDENTS: &str = "SELECT incident FROM incidents ORDER BY opened_at DESC, id DESC LIMIT $1";
pub(crate) const INCIDENTS_BY_STATUS: &str =
    "SELECT incident FROM incidents WHERE status = $2 ORDER BY opened_at DESC, id DESC LIMIT $1";

#[derive(Debug)]
pub(crate) struct PutIncident {
    id: String,
    run: String,
    status: &'static str,
    opened_at: i64,
    text: String,
}

/// How a status is kept; retention looks for the first.
fn status_name(status: IncidentStatus) -> &'static str {
    match status {
        IncidentStatus::Open => "open",
        IncidentStatus::Closed => "closed",
    }
}

impl SqlStore {
    /// Keeps an incident, or replaces the one with its id.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn put_incident(&self, incident: &Incident) -> Result<(), StoreError> {
        let action = format!("keep incident {}", incident.id);
        let work = Work::Incident(Box::new(PutIncident {
            id: plain(&incident.id),
            run: plain(&incident.run.0),
            status: status_name(incident.status),
            opened_at: incident.opened_at.as_millisecond(),
            text: text(&action, incident)?,
        }));
        self.write(action, work).await.map(|_| ())
    }

    /// The incident with that id.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn incident(&self, id: &str) -> Result<Option<Incident>, StoreError> {
        let query = sqlx::query(INCIDENT).bind(plain(id));
        Ok(self.rows("read an incident", query, 1, incident_row).await?.0.pop())
    }

    /// Incidents, of one status or all, the latest first, at most `limit` ([`crate::PAGE_MAX`]).
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn incidents(
        &self,
        status: Option<IncidentStatus>,
        limit: usize,
    ) -> Result<Vec<Incident>, StoreError> {
        let limit = rows_limit(limit);
        let query = match status {
            Some(status) => sqlx::query(INCIDENTS_BY_STATUS).bind(limit as i64).bind(status_name(status)),
            None => sqlx::query(INCIDENTS).bind(limit as i64),
        };
        Ok(self.rows("list incidents", query, limit, incident_row).await?.0)
    }
}

fn incident_row(action: &str, row: &AnyRow) -> Result<(Incident, usize), StoreError> {
    let text: String = column(action, row, 0)?;
    Ok((parse(action, &text)?, text.len()))
}

pub(crate) async fn put(
    connection: &mut AnyConnection,
    incident: &PutIncident,
) -> Result<Answer, sqlx::Error> {
    sqlx::query(
        "INSERT INTO incidents (id, run, status, opened_at, incident) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (id) DO UPDATE SET run = excluded.run, status = excluded.status, \
         opened_at = excluded.opened_at, incident = excluded.incident",
    )
    .bind(&*incident.id)
    .bind(&*incident.run)
    .bind(incident.status)
    .bind(incident.opened_at)
    .bind(&*incident.text)
    .execute(connection)
    .await?;
    Ok(Ok(Done::Changed(true)))
}
