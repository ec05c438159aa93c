"""A mail server (python3-aiosmtpd), run by the system's Python: STARTTLS or TLS, a login, mails as JSON lines on its output.

    mail_server.py PORT_FILE MODE CERTIFICATE KEY USER PASSWORD     MODE: starttls, tls, plain or hang
"""
import asyncio
import json
import os
import socket
import ssl
import sys
from email import message_from_bytes, policy

from aiosmtpd.smtp import SMTP, AuthResult


class Mailbox:
    async def handle_DATA(self, server, session, envelope):
        mail = message_from_bytes(envelope.content, policy=policy.default)
        print(json.dumps({
            "from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": session.ssl is not None,
            "user": session.auth_data, "headers": [[key, str(value)] for key, value in mail.items()],
            "defects": [str(defect) for defect in mail.defects], "text": mail.get_content(),
            "longest": max(map(len, envelope.original_content.split(b"\r\n")))}), flush=True)
        return "250 taken"


def tell(port_file, port):
    with open(port_file + ".new", "w", encoding="utf-8") as file:
        file.write(str(port))
    os.replace(port_file + ".new", port_file)


def main():
    port_file, mode, certificate, key, user, password = sys.argv[1:]

    def authenticate(server, session, envelope, mechanism, data):
        good = (data.login, data.password) == (user.encode(), password.encode())
        return AuthResult(success=good, handled=False, auth_data=data.login.decode() if good else None)

    if mode == "hang":  # takes connections and never says a word
        listener = socket.create_server(("127.0.0.1", 0))
        tell(port_file, listener.getsockname()[1])
        held = []
        while True:
            held.append(listener.accept())
    settings, context = {"hostname": "127.0.0.1"}, None
    if mode != "plain":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        settings.update(authenticator=authenticate, auth_required=True)
    if mode == "starttls":
        settings.update(tls_context=context, require_starttls=True)
        context = None
    elif mode == "tls":
        settings.update(auth_require_tls=False)  # it does not know that there is TLS around it

    async def serve():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: SMTP(Mailbox(), loop=loop, **settings), "127.0.0.1", 0, ssl=context)
        tell(port_file, server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


main()
