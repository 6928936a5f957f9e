"""Les messages en français. SMS: only letters of the GSM alphabet (no ô, ê, î), so that one SMS is enough."""

from kasuwa.domain.messages.wording import Wording

FRENCH: dict[str, Wording] = {
    "verify-email": Wording(
        subject="Confirmez votre adresse e-mail",
        text="Bonjour,\n\n"
        "votre code est $code. Il est valable $minutes minutes.\n\n"
        "Ou ouvrez ce lien : $link\n\n"
        "Si vous n'avez pas ouvert de compte, ignorez ce message.\n",
    ),
    "verify-email-by-token": Wording(
        subject="Confirmez votre adresse e-mail",
        text="Bonjour,\n\n"
        "votre code est $code. Il est valable $minutes minutes.\n\n"
        "Un site peut demander ceci à la place du code : $token\n\n"
        "Si vous n'avez pas ouvert de compte, ignorez ce message.\n",
    ),
    "verify-mobile": Wording(
        subject="Confirmez votre mobile",
        sms="Votre code est $code. Il est valable $minutes minutes. Ne le donnez à personne.",
    ),
    "reset-password": Wording(
        subject="Votre code pour un nouveau mot de passe",
        text="Bonjour,\n\n"
        "votre code pour un nouveau mot de passe est $code. Il est valable $minutes minutes.\n\n"
        "Si vous n'avez rien demandé, ignorez ce message : votre mot de passe reste le même.\n",
        sms="Votre code pour un nouveau mot de passe est $code. Il est valable $minutes minutes. "
        "Ne le donnez à personne.",
    ),
    "password-changed": Wording(
        subject="Votre mot de passe a été modifié",
        text="Bonjour,\n\n"
        "le mot de passe de votre compte a été modifié et toutes les sessions ouvertes sont fermées.\n\n"
        "Si ce n'était pas vous, demandez tout de suite un nouveau mot de passe.\n",
        sms="Votre mot de passe a été modifié et vos sessions sont fermées. "
        "Si ce n'était pas vous, demandez tout de suite un nouveau mot de passe.",
    ),
}
