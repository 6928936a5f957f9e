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
    "address-in-use": Wording(
        subject="Quelqu'un a voulu ouvrir un compte avec votre adresse",
        text="Bonjour,\n\n"
        "quelqu'un a voulu ouvrir un compte sur Kasuwa avec cette adresse, qui ouvre déjà votre compte. Rien"
        " n'a changé, et cette personne n'en sait rien.\n\n"
        "Si c'était vous, connectez-vous, ou demandez un nouveau mot de passe si vous l'avez perdu. Pour une"
        " autre entreprise, prenez une autre adresse.\n\n"
        "Si ce n'était pas vous, ignorez ce message.\n",
        sms="Quelqu'un a voulu ouvrir un compte avec ce numéro, qui en ouvre déjà un. Si c'était vous,"
        " connectez-vous ou demandez un mot de passe. Rien n'a changé.",
    ),
    "customer-verify-email": Wording(
        subject="Confirmez votre adresse e-mail",
        text="Bonjour,\n\n"
        "un magasin a noté cette adresse comme la vôtre. Pour la confirmer, tapez le code $code là où vous"
        " achetez, ou montrez-le au magasin. Il est valable $minutes minutes.\n\n"
        "Si vous n'êtes pas au courant, ignorez ce message.\n",
    ),
    "customer-verify-mobile": Wording(
        subject="Confirmez votre mobile",
        sms="Pour confirmer ce numéro au magasin, tapez ou montrez le code $code. Il est valable $minutes"
        " minutes.",
    ),
    "customer-address-in-use": Wording(
        subject="Quelqu'un a donné votre adresse à un magasin",
        text="Bonjour,\n\n"
        "quelqu'un s'est inscrit dans un magasin avec cette adresse, qui y est déjà la vôtre. Rien n'a"
        " changé, et cette personne n'en sait rien.\n\n"
        "Si c'était vous, connectez-vous au magasin, ou demandez-y un nouveau mot de passe.\n\n"
        "Si ce n'était pas vous, ignorez ce message.\n",
        sms="Quelqu'un s'est inscrit dans un magasin avec ce numéro, qui y est déjà connu. Si c'était vous,"
        " connectez-vous ou demandez un mot de passe.",
    ),
    "check-email": Wording(
        subject="Votre code",
        text="Bonjour,\n\n"
        "votre code est $code. Il est valable $minutes minutes.\n\n"
        "Si vous n'avez pas demandé de code, ignorez ce message.\n",
    ),
    "check-mobile": Wording(
        subject="Votre code",
        sms="Votre code est $code. Il est valable $minutes minutes. Ne le donnez à personne.",
    ),
    "invitation-email": Wording(
        subject="Vous êtes invité à travailler dans un magasin",
        text="Bonjour,\n\n"
        "quelqu'un vous a ajouté à son magasin sur Kasuwa. Ouvrez l'application, choisissez le mot de passe"
        " oublié et tapez cette adresse (ou le nom d'utilisateur que l'on vous a donné), le code $code et un"
        " mot de passe à vous. Le code est valable jusqu'au $until ; ensuite, demandez-en un autre.\n\n"
        "Si vous n'êtes pas au courant, ignorez ce message.\n",
    ),
    "invitation-mobile": Wording(
        subject="Vous êtes invité",
        sms="Un magasin vous a ajouté. Dans l'application : mot de passe oublié, ce numéro, le code $code et"
        " un mot de passe à vous, avant le $until.",
    ),
    "invitation-elsewhere": Wording(
        subject="Quelqu'un veut vous ajouter à son magasin",
        text="Bonjour,\n\n"
        "quelqu'un veut vous ajouter à son magasin sur Kasuwa, mais cette adresse ouvre déjà un autre compte."
        " Donnez-lui une autre adresse e-mail, un autre mobile ou un nom d'utilisateur de votre choix.\n\n"
        "Si vous n'êtes pas au courant, ignorez ce message : rien n'a changé.\n",
        sms="Quelqu'un veut vous ajouter à son magasin, mais ce numéro ouvre un autre compte. Donnez-lui un"
        " autre numéro, un e-mail ou un nom.",
    ),
    "added-to-store": Wording(
        subject="Vous pouvez ouvrir un autre site",
        text="Bonjour,\n\n"
        "vous avez été ajouté à un autre site de votre magasin. Reconnectez-vous pour le voir.\n",
        sms="Vous avez été ajouté à un autre site de votre magasin. Reconnectez-vous pour le voir.",
    ),
    "address-changed": Wording(
        subject="L'adresse de votre compte a été modifiée",
        text="Bonjour,\n\n"
        "l'adresse e-mail de votre compte a été modifiée, et ce n'est plus celle-ci.\n\n"
        "Si ce n'était pas vous, prévenez le propriétaire de votre magasin et demandez tout de suite un"
        " nouveau mot de passe.\n",
        sms="Le mobile de votre compte a été modifié : ce n'est plus ce numéro. Si ce n'était pas vous,"
        " prévenez le propriétaire du magasin.",
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
    "account-recovered": Wording(
        subject="Votre compte a reçu un nouveau mot de passe",
        text="Bonjour,\n\n"
        "l'exploitant de ce serveur a donné un nouveau mot de passe à votre compte, comme à quelqu'un qui"
        " avait tout perdu. Toutes les sessions ouvertes sont fermées.\n\n"
        "Si vous ne l'avez pas demandé, parlez-lui tout de suite.\n",
        sms="L'exploitant du serveur a donné un nouveau mot de passe à votre compte; vos sessions sont"
        " fermées. Si vous ne l'avez pas demandé, parlez-lui tout de suite.",
    ),
    "complaint-open": Wording(
        subject="Votre réclamation est rouverte",
        text="Bonjour,\n\nvotre réclamation $ticket est rouverte.\n",
        sms="Votre réclamation $ticket est rouverte.",
    ),
    "complaint-in-progress": Wording(
        subject="On s'occupe de votre réclamation",
        text="Bonjour,\n\nquelqu'un s'occupe maintenant de votre réclamation $ticket.\n",
        sms="Quelqu'un s'occupe de votre réclamation $ticket.",
    ),
    "complaint-waiting": Wording(
        subject="Votre réclamation vous attend",
        text="Bonjour,\n\nvotre réclamation $ticket attend une réponse de vous.\n",
        sms="Votre réclamation $ticket attend une réponse de vous.",
    ),
    "complaint-resolved": Wording(
        subject="Votre réclamation est résolue",
        text="Bonjour,\n\nvotre réclamation $ticket est résolue.\n",
        sms="Votre réclamation $ticket est résolue.",
    ),
    "complaint-closed": Wording(
        subject="Votre réclamation est close",
        text="Bonjour,\n\nvotre réclamation $ticket est close.\n",
        sms="Votre réclamation $ticket est close.",
    ),
}
