//! tokio-postgres through the proxy: LAKEBASE_PG_URL is what `lakebase-proxy exec` sets.

use tokio_postgres::{Error, NoTls};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let url = std::env::var("LAKEBASE_PG_URL").expect("LAKEBASE_PG_URL is not set");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    let session = tokio::spawn(connection);
    let user: String = client.query_one("select current_user::text", &[]).await?.get(0);
    let doubled = client.prepare("select $1::int * 2").await?;
    // Pipelined on one connection.
    let (one, two) = tokio::join!(
        client.query_one(&doubled, &[&1i32]),
        client.query_one(&doubled, &[&2i32])
    );
    println!("{user} {} {}", one?.get::<_, i32>(0), two?.get::<_, i32>(0));
    drop(client);
    session.await.expect("the session's task ends")
}
