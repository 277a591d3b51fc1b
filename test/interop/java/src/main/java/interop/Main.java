package interop;

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;
import org.flywaydb.core.Flyway;

/** Flyway migrates, then HikariCP's pool of pgjdbc connections reads and writes: all through the proxy. */
public final class Main {
  public static void main(String[] args) throws Exception {
    String url = "jdbc:postgresql://localhost:" + System.getenv("PGPORT") + "/"
        + System.getenv("PGDATABASE") + "?user=any&sslmode=disable";

    Flyway flyway = Flyway.configure().dataSource(url, "any", "").schemas("flyway_demo")
        .locations("classpath:migrations").load();
    int applied = flyway.migrate().migrationsExecuted;
    flyway.validate();

    HikariConfig config = new HikariConfig();
    config.setJdbcUrl(url);
    config.setMaximumPoolSize(4);
    var threads = Executors.newFixedThreadPool(8);
    try (HikariDataSource pool = new HikariDataSource(config)) {
      List<java.util.concurrent.Callable<Integer>> tasks = IntStream.range(0, 64)
          .<java.util.concurrent.Callable<Integer>>mapToObj(id -> () -> insert(pool, id)).toList();
      int inserted = 0;
      for (var each : threads.invokeAll(tasks)) inserted += each.get();
      try (Connection connection = pool.getConnection();
          Statement statement = connection.createStatement();
          ResultSet row = statement.executeQuery(
              "select current_user, (select count(*) from flyway_demo.items)")) {
        row.next();
        System.out.println(row.getString(1) + " " + applied + " " + inserted + " " + row.getInt(2));
        statement.execute("drop schema flyway_demo cascade");
      }
    } finally {
      threads.shutdown();
    }
  }

  private static int insert(HikariDataSource pool, int id) throws Exception {
    try (Connection connection = pool.getConnection();
        PreparedStatement statement =
            connection.prepareStatement("insert into flyway_demo.items (id, name) values (?, ?)")) {
      connection.setAutoCommit(false);
      statement.setInt(1, id);
      statement.setString(2, "item " + id);
      int count = statement.executeUpdate();
      connection.commit();
      return count;
    }
  }
}
