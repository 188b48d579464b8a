//! The safety lever as it was left.

use chaos_core::port::StoreError;
use chaos_core::safety::Lever;
use sqlx::AnyConnection;

use crate::SqlStore;
use crate::read::{column, parse};
use crate::write::{Answer, Done, Work, text};

const LEVER: &str = "SELECT lever FROM lever WHERE id = 1";

impl SqlStore {
    /// The lever; untouched when nobody ever moved it.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn lever(&self) -> Result<Lever, StoreError> {
        let rows = self.rows("read the lever", sqlx::query(LEVER), 1, |action, row| {
            let text: String = column(action, row, 0)?;
            Ok((parse(action, &text)?, text.len()))
        });
        Ok(rows.await?.0.pop().unwrap_or_else(Lever::untouched))
    }

    /// Moves the lever.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn set_lever(&self, lever: &Lever) -> Result<(), StoreError> {
        let action = "move the lever";
        self.write(action.to_owned(), Work::Lever(text(action, lever)?)).await.map(|_| ())
    }
}

pub(crate) async fn set(connection: &mut AnyConnection, text: &str) -> Result<Answer, sqlx::Error> {
    sqlx::query(
        "INSERT INTO lever (id, lever) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET lever = excluded.lever",
    )
    .bind(text)
    .execute(connection)
    .await?;
    Ok(Ok(Done::Changed(true)))
}
