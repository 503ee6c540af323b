"""Verbs: `english, past | français > preposition | Deutsch > case`.

German principal parts are infinitive (`+` divides a separable prefix), third
person singular, participle, and `sein` where that is the auxiliary. `>` leads
in what governs the object; nothing means a plain direct object.
"""

from translation.phrasebook.grammar.lexicon.entries import read_verb, rows

VERBS = """
be, was | être | sein, ist, gewesen, sein
have, had | avoir | haben, hat, gehabt
eat, ate | manger | essen, isst, gegessen
drink, drank | boire | trinken, trinkt, getrunken
prepare | préparer | zu+bereiten, bereitet, zubereitet
order | commander | bestellen, bestellt, bestellt
buy, bought | acheter | kaufen, kauft, gekauft
sell, sold | vendre | verkaufen, verkauft, verkauft
pay, paid | payer | bezahlen, bezahlt, bezahlt
cost, cost | coûter | kosten, kostet, gekostet
read, read | lire | lesen, liest, gelesen
write, wrote | écrire | schreiben, schreibt, geschrieben
translate | traduire | übersetzen, übersetzt, übersetzt
repeat | répéter | wiederholen, wiederholt, wiederholt
learn | apprendre | lernen, lernt, gelernt
understand, understood | comprendre | verstehen, versteht, verstanden
explain | expliquer | erklären, erklärt, erklärt
tell, told | raconter | erzählen, erzählt, erzählt
sign | signer | unterschreiben, unterschreibt, unterschrieben
accept | accepter | an+nehmen, nimmt, angenommen
open | ouvrir | öffnen, öffnet, geöffnet
close | fermer | schließen, schließt, geschlossen
switch on | allumer | ein+schalten, schaltet, eingeschaltet
switch off | éteindre | aus+schalten, schaltet, ausgeschaltet
see, saw | voir | sehen, sieht, gesehen
look at | regarder | an+sehen, sieht, angesehen
hear, heard | entendre | hören, hört, gehört
look for | chercher | suchen, sucht, gesucht
find, found | trouver | finden, findet, gefunden
lose, lost | perdre | verlieren, verliert, verloren
forget, forgot | oublier | vergessen, vergisst, vergessen
need | avoir besoin > de | brauchen, braucht, gebraucht
take, took | prendre | nehmen, nimmt, genommen
bring, brought | apporter | bringen, bringt, gebracht
carry | porter | tragen, trägt, getragen
choose, chose | choisir | aus+suchen, sucht, ausgesucht
receive | recevoir | bekommen, bekommt, bekommen
fill | remplir | füllen, füllt, gefüllt
wash | laver | waschen, wäscht, gewaschen
clean | nettoyer | putzen, putzt, geputzt
repair | réparer | reparieren, repariert, repariert
build, built | construire | bauen, baut, gebaut
draw, drew | dessiner | zeichnen, zeichnet, gezeichnet
photograph | photographier | fotografieren, fotografiert, fotografiert
drive, drove | conduire | fahren, fährt, gefahren
rent | louer | mieten, mietet, gemietet
steal, stole | voler | stehlen, stiehlt, gestohlen
put on, put on | mettre | an+ziehen, zieht, angezogen
take off, took off | enlever | aus+ziehen, zieht, ausgezogen
visit | visiter | besichtigen, besichtigt, besichtigt
finish | finir | beenden, beendet, beendet
give, gave | donner | geben, gibt, gegeben
show | montrer | zeigen, zeigt, gezeigt
send, sent | envoyer | schicken, schickt, geschickt
lend, lent | prêter | leihen, leiht, geliehen
know, knew | connaître | kennen, kennt, gekannt
love | adorer | lieben, liebt, geliebt
like | aimer | mögen, mag, gemocht
hate | détester | hassen, hasst, gehasst
meet, met | rencontrer | treffen, trifft, getroffen
invite | inviter | ein+laden, lädt, eingeladen
call | appeler | an+rufen, ruft, angerufen
help | aider | helfen, hilft, geholfen > dat
thank | remercier | danken, dankt, gedankt > dat
follow | suivre | folgen, folgt, gefolgt, sein > dat
answer | répondre > à | antworten, antwortet, geantwortet > dat
listen to | écouter | zu+hören, hört, zugehört > dat
wait for | attendre | warten, wartet, gewartet > auf acc
belong to | appartenir > à | gehören, gehört, gehört > dat
feed, fed | nourrir | füttern, füttert, gefüttert
think, thought | penser | denken, denkt, gedacht
say, said | dire | sagen, sagt, gesagt
believe | croire | glauben, glaubt, geglaubt
hope | espérer | hoffen, hofft, gehofft
try, tried | essayer > de | versuchen, versucht, versucht
begin, began | commencer > à | beginnen, beginnt, begonnen
sleep, slept | dormir | schlafen, schläft, geschlafen
work | travailler | arbeiten, arbeitet, gearbeitet
study | étudier | studieren, studiert, studiert
cook | cuisiner | kochen, kocht, gekocht
wait | attendre | warten, wartet, gewartet
speak, spoke | parler | sprechen, spricht, gesprochen
sing, sang | chanter | singen, singt, gesungen
dance | danser | tanzen, tanzt, getanzt
play | jouer | spielen, spielt, gespielt
laugh | rire | lachen, lacht, gelacht
cry, cried | pleurer | weinen, weint, geweint
smoke | fumer | rauchen, raucht, geraucht
swim, swam | nager | schwimmen, schwimmt, geschwommen, sein
run, ran | courir | laufen, läuft, gelaufen, sein
go, went | aller | gehen, geht, gegangen, sein
come, came | venir | kommen, kommt, gekommen, sein
come back, came back | revenir | zurück+kommen, kommt, zurückgekommen, sein
arrive | arriver | an+kommen, kommt, angekommen, sein
leave, left | partir | ab+fahren, fährt, abgefahren, sein
travel, travelled | voyager | reisen, reist, gereist, sein
stay | rester | bleiben, bleibt, geblieben, sein
live | habiter | wohnen, wohnt, gewohnt
get up, got up | se lever | auf+stehen, steht, aufgestanden, sein
wake up, woke up | se réveiller | auf+wachen, wacht, aufgewacht, sein
hurry | se dépêcher | sich beeilen, beeilt, beeilt
rest | se reposer | sich aus+ruhen, ruht, ausgeruht
go for a walk, went for a walk | se promener
 | spazieren +gehen, geht, spazieren gegangen, sein
bark | aboyer | bellen, bellt, gebellt
fly, flew | voler | fliegen, fliegt, geflogen, sein
bloom | fleurir | blühen, blüht, geblüht
shine, shone | briller | scheinen, scheint, geschienen
rain | pleuvoir | regnen, regnet, geregnet
snow | neiger | schneien, schneit, geschneit
"""

VERBS = {
    verb.english: verb
    for verb in (read_verb(columns) for columns, _ in rows(VERBS))
}
