"""TEXTS: the sentences that the synthetic voices speak, by language as espeak-ng names it; each language has all of its lip shapes."""

from __future__ import annotations

TEXTS: dict[str, tuple[str, ...]] = {
    "en-us": (
        "My uncle Bob bought a big blue boat before the month of May, and he painted its bow by hand.",
        "Five of the women gave us very fine food: fresh fish, warm bread, and a few ripe plums.",
        "Please move the tall lamp away from the window, it may fall over when the wind blows.",
        "Why would you walk through the woods at noon when the road by the river is so much shorter?",
        "She showed each child the shiny shells that the sea had washed up on the shore.",
        "Perhaps we ought to open the top box first, and put the empty bottles back below.",
        "Nine o'clock is too early for me; let us meet at the old mill a little after ten.",
        "Oh, how wonderful! You all came home, and nobody forgot the map, the milk, or the money.",
    ),
    "en-gb-x-rp": (
        "The butcher and the baker both hope for better weather before the market opens on Monday.",
        "I thought I heard a voice in the hall, but it was only the father of the girl from next door.",
        "Could you have a look at my bicycle? The front wheel wobbles, and the brake makes an awful noise.",
        "We have four pupils who play the oboe and another four who would rather sing.",
    ),
    "fr": (
        "Bonjour à tous, je m'appelle Paul et je voudrais vous montrer un petit bout de mon village.",
        "Ma mère prépare une bonne soupe aux pommes de terre pendant que mon frère met la table.",
        "Au printemps, les oiseaux font beaucoup de bruit, et nous ouvrons toutes les fenêtres.",
        "Pourquoi veux-tu partir si vite? Il pleut, il fait froid, et le bus ne passe qu'à neuf heures.",
        "Le vieux bûcheron a vu un beau cheval blanc qui buvait au bord de l'eau.",
    ),
    "de": (
        "Meine Mutter backt am Abend ein Brot, und mein Bruder bringt Butter und Pflaumenmus dazu.",
        "Fünf schöne Vögel flogen über das Wasser und verschwanden hinter dem alten Baum.",
        "Warum bleibst du nicht noch ein wenig? Wir wollten doch zusammen Musik machen.",
        "Ob Peter heute kommt, weiß ich nicht, aber er hat früh am Morgen angerufen.",
    ),
    "es": (
        "Mi abuelo vive en un pueblo pequeño, muy cerca del mar, y siempre habla con sus vecinos.",
        "Por favor, abre la ventana un momento, que aquí dentro hace mucho calor.",
        "Me gusta beber un vaso de agua fresca cuando vuelvo a casa después de trabajar.",
    ),
    "it": (
        "Oggi la mamma prepara una buona zuppa di fagioli, e poi mangiamo tutti fuori.",
        "Il mio amico abita vicino al ponte vecchio e va al lavoro sempre a piedi.",
        "Vuoi provare questa torta? È fatta con uva, pere e un po' di vino bianco.",
    ),
    "pt-br": (
        "Meu irmão comprou um barco bem bonito, mas ainda não sabe para onde vai viajar.",
        "Amanhã vamos fazer um bolo de maçã e convidar os vizinhos para o café.",
        "Você pode fechar a porta, por favor? Está ventando muito lá fora.",
    ),
    "nl": (
        "Mijn broer woont op een boot en bakt elke morgen vers brood voor de hele buurt.",
        "Wij wachten op de bus, maar het begint te waaien en misschien wordt het nog nat.",
    ),
    "sv": (
        "Min moster bor i ett blått hus vid havet, och på sommaren badar vi varje dag.",
        "Kan du öppna fönstret en stund? Det är så varmt här inne att jag somnar.",
    ),
    "pl": (
        "Mój brat pojechał wczoraj nad morze i przywiózł mamie mały, biały kamień.",
        "Proszę, powiedz mi, o której godzinie odjeżdża pociąg do domu.",
    ),
    "cs": (
        "Moje babička peče výborný chléb a každou neděli nás všechny zve na oběd.",
        "Když přijde jaro, budeme opět plavat v potoce pod starým mlýnem.",
    ),
    "fi": (
        "Äiti leipoo hyvää puuroa ja leipää, ja me poimimme marjoja mökin pihalla.",
        "Voitko avata oven? Ulkona puhaltaa kova tuuli, ja minulla on kylmä.",
    ),
    "tr": (
        "Babam bu sabah büyük bir balık tuttu, akşam da bütün komşularla birlikte yedik.",
        "Pencereyi biraz açabilir misin? Burada hava çok sıcak oldu.",
    ),
    "id": (
        "Ibu membeli buah mangga dan ubi di pasar, lalu kami makan bersama di rumah.",
        "Apakah kamu mau pergi ke pantai besok pagi, atau lebih baik minggu depan?",
    ),
    "ru": (
        "Мой брат живёт у моря и каждое утро покупает свежую рыбу для бабушки.",
        "Почему ты так быстро уходишь? Побудь с нами ещё немного, выпей чаю.",
    ),
    "el": (
        "Η μητέρα μου μαγειρεύει φασόλια και ο πατέρας μου βάζει το ψωμί στο τραπέζι.",
        "Μπορείς να ανοίξεις το παράθυρο; Εδώ μέσα κάνει πολλή ζέστη.",
    ),
    "cmn": (
        "我的爸爸妈妈都在北方工作，明年我们打算一起去看大海。",
        "你为什么不多吃一点？这些苹果和葡萄都是我姑姑送来的。",
    ),
}
