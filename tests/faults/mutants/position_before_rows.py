"""The MySQL sink commits where it stands before it writes the rows: who dies in between never writes them."""


def _position_first(mysql_sink):
    write = mysql_sink.MysqlStore.write

    def move_then_write(self, batch, moves):
        write(self, type(batch)(), moves)
        write(self, batch, {})

    mysql_sink.MysqlStore.write = move_then_write


PATCHES = {"sinks.mysql_sink": _position_first}
